#!/usr/bin/env python3
"""Compares what processes have said with what a recording holds; exits 1 at the first difference.

    compare.py operations RECORDING BROADCASTER_TAIL
    compare.py net        RECORDING BROADCASTER_TAIL
    compare.py posts      RECORDING BROADCASTER_TAIL BOT_TAIL [--frontend URL]
    compare.py transfers  RECORDING BROADCASTER_TAIL WATCH_TAIL [--threshold THOUSANDTHS]

A tail is the output of `procession tail PROCESS/* --json --from beginning --until-end`. Operations are compared one
by one, in order, and losslessly (a number by its digits); offsets run without a gap; the key is the acting
account. `net` leaves out what was retracted. A post's or transfer's cause must be the very record of the operation that it is about.
"""

import argparse
import re
import sys

import lossless
import recording

# Who acts, for the types that matter most. Of the others it is only asked that the key is somewhere in the value.
ACTORS = {
    "vote": ["voter"],
    "comment": ["author"],
    "comment_options": ["author"],
    "delete_comment": ["author"],
    "transfer": ["from"],
    "transfer_to_vesting": ["from"],
    "custom_json": ["required_posting_auths", "required_auths"],
    "account_create": ["creator"],
    "account_update": ["account"],
    "account_witness_vote": ["account"],
    "claim_reward_balance": ["account"],
    "feed_publish": ["publisher"],
    "limit_order_create": ["owner"],
    "limit_order_cancel": ["owner"],
    "delegate_vesting_shares": ["delegator"],
    "pow": ["worker_account"],
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


class Different(Exception):
    """What is not as it must be."""


def tail(path, journal):
    """The records of a tail. Offsets begin at 0 and have no gap, times grow, epochs don't fall."""
    records = []
    time, epoch = "", 0
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        record = lossless.loads(line)
        where = f"{path}, line {number}"
        if record.get("gap") is not None:
            raise Different(f"{where}: a gap where nothing may be missing: {line.strip()}")
        if record.get("journal") != journal:
            raise Different(f"{where}: journal {record.get('journal')!r} instead of {journal!r}")
        if int(record.get("offset")) != len(records):
            raise Different(f"{where}: offset {record.get('offset')} where {len(records)} must come")
        if not TIME.fullmatch(record.get("time")) or record.get("time") <= time:
            raise Different(f"{where}: time {record.get('time')!r} after {time!r}")
        if int(record.get("epoch")) < epoch:
            raise Different(f"{where}: epoch {record.get('epoch')} after {epoch}")
        time, epoch = record.get("time"), int(record.get("epoch"))
        records.append(record)
    return records


def net(records):
    """What is left when all retractions are done. Each names earlier records of its block, and none twice."""
    left = {}
    for record in records:
        offset = int(record.get("offset"))
        if record.get("topic") != "retract":
            left[offset] = record
            continue
        payload = record.get("payload")
        for gone in payload.get("operations"):
            target = left.pop(int(gone.get("offset")), None)
            if target is None:
                raise Different(f"offset {offset} retracts {shown(gone)}, which isn't there (any more)")
            said = target.get("payload")
            names = ["trx_id", "trx_in_block", "op_in_trx"]
            same = [said.get(name) for name in names] == [gone.get(name) for name in names]
            if not same or target.get("topic") != gone.get("topic") or said.get("block") != payload.get("block"):
                raise Different(f"offset {offset} retracts {shown(gone)}, but that is {shown(target)}")
    return [left[offset] for offset in sorted(left)]


def compare(what, expected, found, describe):
    """Both lists, entry by entry; the first difference is told with what surrounds it."""
    for index, (wanted, got) in enumerate(zip(expected, found)):
        difference = describe(wanted, got)
        if difference:
            text = shown(got)
            raise Different(f"{what} {index} (offset {got.get('offset')}): {difference}\n  record: {text}")
    if len(expected) > len(found):
        missing = shown(expected[len(found)])
        raise Different(f"{len(found)} {what}s instead of {len(expected)}; the first that is missing: {missing}")
    if len(found) > len(expected):
        extra = shown(found[len(expected)])
        raise Different(f"{len(found)} {what}s instead of {len(expected)}; the first too many: {extra}")


def shown(value):
    text = lossless.dumps(value)
    return text if len(text) <= 1500 else text[:1500] + " …"


def field(name, wanted, got):
    return None if wanted == got else f"{name} is {shown(got)}, not {shown(wanted)}"


def number(value):
    return lossless.Number(value)


def operation_difference(wanted, record):
    payload = record.get("payload")
    names = ["block", "trx_id", "trx_in_block", "op_in_trx", "timestamp", "op"]
    if payload.keys() != names:
        return f"the payload has the fields {payload.keys()}, not {names}"
    trx_id = wanted["trx_id"]
    if trx_id is None and re.fullmatch("[0-9a-f]{40}", payload.get("trx_id")):
        # The recording has none: the node makes one up.
        trx_id = payload.get("trx_id")
    return (
        field("topic", wanted["topic"], record.get("topic"))
        or field("block", number(wanted["block"]), payload.get("block"))
        or field("trx_in_block", number(wanted["trx_in_block"]), payload.get("trx_in_block"))
        or field("op_in_trx", number(wanted["op_in_trx"]), payload.get("op_in_trx"))
        or field("trx_id", trx_id, payload.get("trx_id"))
        or field("timestamp", wanted["timestamp"], payload.get("timestamp"))
        or field("type", wanted["type"], payload.get("op").get("type"))
        or field("value", wanted["value"], payload.get("op").get("value"))
        or field("cause", None, record.get("cause"))
        or key_difference(wanted, record.get("key"))
    )


def key_difference(wanted, key):
    value = wanted["value"]
    if wanted["topic"] in ACTORS and isinstance(value, lossless.Object):
        candidates = [first(value.get(name)) for name in ACTORS[wanted["topic"]]]
        actor = next((name for name in candidates if is_account(name)), None)
        return field("key", actor, key)
    if key is not None and f'"{key}"' not in lossless.dumps(value):
        return f"key {key!r} isn't in the value"
    return None


def first(value):
    if isinstance(value, list) and not isinstance(value, lossless.Object):
        return value[0] if value else None
    return value


def is_account(name):
    return isinstance(name, str) and not isinstance(name, lossless.Number) and 0 < len(name.encode("utf-8", "replace")) <= 256


def caused_by(wanted, record, operations):
    """The cause is the record of the operation that is meant: its block, transaction and index."""
    cause = record.get("cause")
    if cause is None or cause.get("journal") != "broadcaster":
        return f"cause is {shown(cause)}, which is no record of the broadcaster"
    offset = int(cause.get("offset"))
    if offset >= len(operations):
        return f"cause is offset {offset}, but the broadcaster has said {len(operations)} records"
    payload = operations[offset].get("payload")
    for name in ["block", "trx_in_block", "op_in_trx"]:
        if payload.get(name) != number(wanted[name]):
            return f"cause is another operation: {shown(operations[offset])}"
    return None


def post_difference(operations):
    def difference(wanted, record):
        payload = record.get("payload")
        return (
            field("topic", "new-post", record.get("topic"))
            or field("url", wanted["url"], payload.get("url"))
            or field("author", wanted["author"], payload.get("author"))
            or field("permlink", wanted["permlink"], payload.get("permlink"))
            or field("title", wanted["value"].get("title"), payload.get("title"))
            or field("block", number(wanted["block"]), payload.get("block"))
            or field("key", wanted["author"], record.get("key"))
            or caused_by(wanted, record, operations)
        )

    return difference


def transfer_difference(operations):
    def difference(wanted, record):
        payload = record.get("payload")
        return (
            field("topic", "large-transfer", record.get("topic"))
            or field("from", wanted["value"].get("from"), payload.get("from"))
            or field("to", wanted["value"].get("to"), payload.get("to"))
            or field("amount", wanted["amount"], payload.get("amount"))
            or field("asset", wanted["asset"], payload.get("asset"))
            or field("block", number(wanted["block"]), payload.get("block"))
            or field("key", wanted["value"].get("from"), record.get("key"))
            or caused_by(wanted, record, operations)
        )

    return difference


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    for name, extra in [("operations", []), ("net", []), ("posts", ["bot_tail"]), ("transfers", ["watch_tail"])]:
        command = what.add_parser(name)
        for argument in ["recording", "broadcaster_tail", *extra]:
            command.add_argument(argument)
        command.add_argument("--frontend", default="https://peakd.com", metavar="URL")
        command.add_argument("--threshold", type=int, default=1_000_000, metavar="THOUSANDTHS")
    return parser.parse_args()


def main():
    given = arguments()
    operations = tail(given.broadcaster_tail, "broadcaster")
    if given.what in ("operations", "net"):
        expected = list(recording.operations(given.recording))
        found = net(operations) if given.what == "net" else operations
        compare("operation", expected, found, operation_difference)
    elif given.what == "posts":
        expected = list(recording.posts(given.recording, given.frontend))
        compare("post", expected, tail(given.bot_tail, "bot"), post_difference(operations))
    else:
        expected = list(recording.large_transfers(given.recording, given.threshold))
        compare("transfer", expected, tail(given.watch_tail, "transfer-watch"), transfer_difference(operations))
    if not expected:
        raise Different(f"the recording has no {given.what}: nothing was compared")
    print(f"{len(expected)} {given.what}, all the same")


if __name__ == "__main__":
    try:
        main()
    except Different as difference:
        sys.exit(f"DIFFERENT: {difference}")

"""Reads a recording of blocks, by the description of the data alone: nothing here comes from our programs.

A line is a block, as block_api.get_block or condenser_api.get_block answers it. Played as one chain, the blocks
are numbered from 1 in the file's order.
"""

import gzip

import lossless

SUFFIX = "_operation"
TOPIC_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
TOPIC_BYTES_MAX = 64


def lines(path):
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        for line in file:
            if line.strip():
                yield line


def blocks(path):
    """The blocks with their numbers in the played chain."""
    return enumerate(map(lossless.loads, lines(path)), 1)


def transaction_id(block, index):
    """The id of a transaction, which is told for the whole block or by the transaction itself; or not at all."""
    told = block.get("transaction_ids")
    return told[index] if told else block.get("transactions")[index].get("transaction_id")


def operations(path):
    """Every operation in the chain's order. `trx_id` is None where the recording has none."""
    for number, block in blocks(path):
        for trx_in_block, transaction in enumerate(block.get("transactions")):
            trx_id = transaction_id(block, trx_in_block)
            for op_in_trx, operation in enumerate(transaction.get("operations")):
                kind, value = parts(operation)
                yield {
                    "topic": topic(kind),
                    "block": number,
                    "timestamp": block.get("timestamp"),
                    "trx_id": trx_id,
                    "trx_in_block": trx_in_block,
                    "op_in_trx": op_in_trx,
                    "type": kind,
                    "value": value,
                }


def parts(operation):
    """Type and value, from {"type":..,"value":..} or [name, value]; anything else arrives whole."""
    if isinstance(operation, lossless.Object):
        if sorted(operation.keys()) == ["type", "value"] and isinstance(operation.get("type"), str):
            return operation.get("type"), operation.get("value")
    elif isinstance(operation, list) and len(operation) == 2 and isinstance(operation[0], str):
        name = operation[0]
        return (name if name.endswith(SUFFIX) else name + SUFFIX), operation[1]
    return "unknown" + SUFFIX, operation


def topic(kind):
    """The type's name without its suffix, or made to fit if it doesn't."""
    name = kind.removesuffix(SUFFIX)
    raw = name.encode("utf-8", "surrogatepass")
    clean = set(raw) <= TOPIC_BYTES and 1 <= len(raw) <= TOPIC_BYTES_MAX
    if clean and not name.startswith(("_", "-", "x-")) and name != "retract":
        return name
    lowered = (byte + 32 if 65 <= byte <= 90 else byte for byte in raw[: TOPIC_BYTES_MAX - 2])
    return "x-" + "".join(chr(byte) if byte in TOPIC_BYTES else "-" for byte in lowered)


def posts(path, frontend):
    """Every top-level post once, when it is first there: later ones of the same author and permlink are edits."""
    seen = set()
    for operation in operations(path):
        if operation["topic"] != "comment" or operation["value"].get("parent_author"):
            continue
        author, permlink = operation["value"].get("author"), operation["value"].get("permlink")
        if (author, permlink) not in seen:
            seen.add((author, permlink))
            yield dict(operation, author=author, permlink=permlink, url=f"{frontend}/@{author}/{permlink}")


NAMES = {"@@000000021": "HIVE", "STEEM": "HIVE", "HIVE": "HIVE", "@@000000013": "HBD", "SBD": "HBD", "HBD": "HBD"}


def amount(value):
    """Units of a thousandth, and the asset, of any of the three forms; None for other assets."""
    if isinstance(value, str) and not isinstance(value, lossless.Number):
        digits, symbol = value.split(" ")
        whole, _, decimals = digits.partition(".")
        return int(whole + decimals.ljust(3, "0")), NAMES.get(symbol)
    if isinstance(value, lossless.Object):
        value = [value.get("amount"), value.get("precision"), value.get("nai")]
    units, precision, nai = value
    return int(units) * 10 ** (3 - int(precision)) if int(precision) <= 3 else None, NAMES.get(nai)


def large_transfers(path, threshold):
    """Every transfer of more than a threshold, in thousandths of HIVE or HBD."""
    for operation in operations(path):
        if operation["topic"] != "transfer":
            continue
        units, asset = amount(operation["value"].get("amount"))
        if asset is not None and units > threshold:
            decimal = f"{units // 1000}.{units % 1000:03}"
            yield dict(operation, amount=decimal, asset=asset)

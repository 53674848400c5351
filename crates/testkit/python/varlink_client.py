#!/usr/bin/env python3
"""Calls a running process with Python's `varlink`, a client that isn't ours.

    varlink_client.py SOCKET RECORDS [--no-wait]

GetInfo and every interface's description; Status, Health; of the journal Info, Wait for one record more than there
is (unless told not to), and Read with `more`, the first RECORDS records. Every reply is held against its
description, field by field. Prints one JSON object.
"""

import json
import sys

import varlink
from varlink import scanner


def check(interface, method, reply):
    """The reply has the fields that its description has, of the types that it says, and no others."""
    check_type(interface, interface.get_method(method).out_type, reply, f"{interface.name}.{method}")


def check_type(interface, kind, value, where):
    if isinstance(kind, scanner._Maybe):
        if value is not None:
            check_type(interface, kind.element_type, value, where)
    elif isinstance(kind, scanner._CustomType):
        check_type(interface, interface.members[kind.name].type, value, where)
    elif isinstance(kind, scanner._Array):
        require(isinstance(value, list), where, "a list", value)
        for index, item in enumerate(value):
            check_type(interface, kind.element_type, item, f"{where}[{index}]")
    elif isinstance(kind, scanner._Struct):
        require(isinstance(value, dict), where, "an object", value)
        extra = set(value) - set(kind.fields)
        require(not extra, where, f"described: it has {sorted(extra)} too", value)
        for name, inner in kind.fields.items():
            check_type(interface, inner, value.get(name), f"{where}.{name}")
    elif isinstance(kind, scanner._Enum):
        require(value in list(kind.fields), where, f"one of {list(kind.fields)}", value)
    elif not isinstance(kind, scanner._Object):
        # An example of the type stands for it: "", 0, 0.0 or False.
        require(type(value) is type(kind), where, type(kind).__name__, value)


def require(holds, where, what, value):
    if not holds:
        sys.exit(f"{where} is not {what}: {json.dumps(value)}")


def describe(client):
    """GetInfo, and the interfaces as the library understands them."""
    with client.open("org.varlink.service") as service:
        info = service.GetInfo()
        interfaces = {}
        for name in info["interfaces"]:
            interfaces[name] = varlink.Interface(service.GetInterfaceDescription(name)["description"])
            require(interfaces[name].name == name, name, "what its description says", interfaces[name].name)
    return info, interfaces


def main(socket, records_max, wait):
    with varlink.Client("unix:" + socket) as client:
        info, interfaces = describe(client)
        said = {"info": info}

        def call(opened, interface, method, **arguments):
            reply = getattr(opened, method)(**arguments)
            check(interfaces[interface], method, reply)
            return reply

        with client.open("io.procession.Process") as process:
            said["status"] = call(process, "io.procession.Process", "Status")
            said["health"] = call(process, "io.procession.Process", "Health")
        with client.open("io.procession.Journal") as journal:
            said["journal"] = call(journal, "io.procession.Journal", "Info")
            if wait:
                committed = said["journal"]["committed"]
                said["waited"] = call(journal, "io.procession.Journal", "Wait", after=committed)
            replies = list(journal.Read(_more=True, **{"from": 0, "count": records_max}))
            for reply in replies:
                check(interfaces["io.procession.Journal"], "Read", reply)
    require(all(reply.get("gap") is None for reply in replies), "Read", "without gaps", replies)
    require(replies[-1].get("record") is None, "the last reply of Read", "without a record", replies[-1])
    said["records"] = [reply["record"] for reply in replies[:-1]]
    print(json.dumps(said))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] != ["--no-wait"])

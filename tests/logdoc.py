#!/usr/bin/env python3
"""What pop3d(8) says of the log, against what is written there.

logdoc.py PAGE sources FILE.c ...: what log_event is called with has exactly
the page's events and keys.
logdoc.py PAGE log: standard input, lines of a log, has no others, and none
whose values are not as the page says.
"""
import re
import sys

KEY = r"[a-z]+"
VALUE = r'(?:"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*"|[!#-<>-\[\]-~]+)'
STRING = r'"(?:[^"\\]|\\.)*"'


def documented(page):
    """The keys of each event, in order, and the keys that are explained."""
    text = open(page, encoding="ascii").read()
    text = text[text.index(".Sh DIAGNOSTICS"):text.index(".Sh SEE ALSO")]
    head, explained = text.split("The keys are:")
    events = {name: keys.replace("=", "").split() for name, keys in
              re.findall(r"^\.It Li event=(\S+)(.*)$", head, re.M)}
    return events, re.findall(r"^\.It Li (%s)$" % KEY, explained, re.M)


def called(files):
    """Pairs of an event and its keys, in order."""
    text = "".join(open(f, encoding="ascii").read() for f in files)
    calls = re.findall(
        r"\blog_event\(\s*((?:%s\s*)+)" % STRING, text)
    names = re.findall(r"\blog_message\(([^;]*)\);", text)
    assert len(calls) == len(re.findall(r"\blog_event\((?!const)", text)) > 9
    found = []
    for call in calls:
        form = "".join(s[1:-1] for s in re.findall(STRING, call))
        event, *pairs = form.split(" ")
        keys = [re.match(r"(%s)=" % KEY, p).group(1) for p in pairs]
        if event == "%s":
            assert names
            found += [(e, keys) for e in re.findall(
                r'"([a-z]+)"', " ".join(names))]
        else:
            found.append((event, keys))
    return found


def in_order(keys, all_keys):
    rest = iter(all_keys)
    return all(key in rest for key in keys)


def compare(events, explained, found):
    wrong = []
    for event, keys in found:
        if not in_order(keys, events.get(event, [])):
            wrong.append("not in the page: event=%s %s" % (event, keys))
    for event, keys in events.items():
        used = {k for e, ks in found if e == event for k in ks}
        wrong += ["never written: event=%s %s=" % (event, k)
                  for k in keys if k not in used]
    every = {k for keys in events.values() for k in keys}
    wrong += ["not explained: " + k for k in sorted(every - set(explained))]
    wrong += ["in no event: " + k for k in sorted(set(explained) - every)]
    return wrong


def read_log(lines):
    for line in lines:
        match = re.fullmatch(
            r"pop3d: event=([a-z]+)((?: %s=%s)*)\n" % (KEY, VALUE), line)
        if match is None:
            sys.exit("not in the form: " + line)
        yield match.group(1), re.findall(
            r" (%s)=%s" % (KEY, VALUE), match.group(2))


def main():
    events, explained = documented(sys.argv[1])
    assert len(events) >= 8 and len(explained) >= 20
    if sys.argv[2] == "sources":
        wrong = compare(events, explained, called(sys.argv[3:]))
    else:
        found = list(read_log(sys.stdin))
        assert found
        wrong = ["not in the page: event=%s %s" % (event, keys)
                 for event, keys in found
                 if not in_order(keys, events.get(event, []))]
    sys.exit("\n".join(wrong) or 0)


main()

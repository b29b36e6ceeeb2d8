"""Reading what containers said.

The log writer (a process of its own, `corten.supervisor`) writes; this package only ever reads:

    <root>/containers/<id>/<id>-json.log      the newest records
    <root>/containers/<id>/<id>-json.log.1    older ones, up to max-file

One JSON object per line, as Docker's json-file driver writes it. Nothing here blocks the event loop
for longer than a small read of freshly written pages.
"""

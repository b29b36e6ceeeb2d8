"""The command line `corten`: Docker's commands, flags, tables, texts and exit codes over the Engine API.

Talks to the engine through `corten.client` only. It starts under `python -I -S` (see `corten/launcher`),
so it uses the standard library alone, builds the parser of the invoked command only, and imports what is
expensive where it is used: a whole `corten version` is about 15 ms, most of it the interpreter's own start.

    main         entry: global options, the command, errors to text and exit code
    registry     every command: where it is, what it says about itself
    command      what a command is;  flags: parsing its arguments;  help: its help text
    context      what commands get: the engine, the streams, the configuration
    container/ image/ system/ network: the commands, a module per family
    template/    Go templates for --format;  table: columns;  durations, sizes: Docker's human units
"""

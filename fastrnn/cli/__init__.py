"""The command `fastrnn`, one file a subcommand. It may import everything; nothing but `__main__.py` imports it.

Its files::

    main.py        finds the subcommand and runs it; every error becomes one line
    train.py  sample.py  eval.py  inspect.py  info.py  convert.py  bench.py      one subcommand each
    options.py     options that several subcommands share
    reading.py     texts: files, pipes, compressed ones, other encodings
    paths.py       every path of a command, checked before the first byte is written
    lock.py        one writer for each model
    output.py      every line that is written;  shell.py: command lines to be pasted
    progress.py    bar or lines of a run;  log.py: its log;  picture.py: plots
    interrupt.py   Ctrl-C and other signals
    bench_run.py   what `bench` does: processes one after another, tables, files

An error while the package itself is imported is shown by `fastrnn/_command.py`, which runs before all this.
"""

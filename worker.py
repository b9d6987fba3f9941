"""Start a worker: `python worker.py`. The same as `alexandria worker`."""

from alexandria.entrypoints.worker import main

if __name__ == "__main__":
    main()

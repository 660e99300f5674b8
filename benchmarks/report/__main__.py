"""`python -m benchmarks.report`: see `command`."""

from benchmarks.report.command import main

raise SystemExit(main())

"""The command line of `tools.benchmark`."""

from ptxtf import flags
from tools.benchmark import main
from tools.benchmark.settings import BenchmarkConfig

if __name__ == "__main__":  # worker processes import this file, too
    flags.run(main, BenchmarkConfig, arguments="WHAT")

"""Leave these tests out where there is no folder of benchmarks, as in an sdist."""

from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
collect_ignore = [] if (BENCHMARKS / "gpu.py").exists() else ["test_gpu.py", "test_gpu_sections.py"]

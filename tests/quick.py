"""Prints the flags with which the quick suite compiles: with fewer optimisations than users do.

Compiling is most of its time.
"""

import importlib.metadata

FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]

if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # a flag of these versions alone
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")

if __name__ == "__main__":
    print(*FLAGS)

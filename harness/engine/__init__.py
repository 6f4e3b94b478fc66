"""Everything that needs torch: backbone, method base class, video input, fits and evals."""

from harness.engine.deferred_imports import defer_imports

defer_imports()  # before a module of this package imports mmaction2

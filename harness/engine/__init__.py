"""Everything that needs torch: backbone, method base class, video input, fits and evals."""

"""Statistics of numbers, without records and files: accuracies, intervals, paired tests, Holm's correction, ranks."""

"""Lists, label sets and the rules that make them: text and arithmetic, without videos."""

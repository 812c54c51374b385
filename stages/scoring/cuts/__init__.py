"""Boxes of score maps at every cut: the rules of the evaluators, fast and exact, and the counts made of them."""

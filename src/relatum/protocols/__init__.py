"""How methods are asked and measured: the questions and relation-guided retrieval."""

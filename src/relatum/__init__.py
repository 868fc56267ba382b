"""Relation-conditioned multimodal representation learning."""

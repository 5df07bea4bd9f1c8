"""Foreign models that have heard more: audio -> embeddings and logits. An optional extra: pip install '.[teacher]'."""

"""The embedded world: scenes, renderer, captions, evaluator and image autoencoder."""

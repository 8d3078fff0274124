"""From files to batches: decoding, resizing and normalising, ahead of the model."""

"""Video data sets: files, folders of frames, lists of clips, and how frames are sampled."""

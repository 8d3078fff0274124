"""Video data sets: ``video:PATH`` for video files and ``frames:PATH`` for folders of frames.

`lists` finds the clips and their classes, `video_file` and `frame_folder` decode frames, and
`sampling` chooses which frames and crops make up a clip. Opened through `suite.data.open_dataset`.
"""

"""A 2D recogniser small enough for tests: ResNet-18, four segments of 32 pixels, four classes."""

model = dict(
    type="Recognizer2D",
    backbone=dict(type="ResNet", pretrained="https://example.org/never-fetched.pth", depth=18, norm_eval=False),
    cls_head=dict(type="TSNHead", num_classes=4, in_channels=512, spatial_type="avg", dropout_ratio=0.4),
    data_preprocessor=dict(
        type="ActionDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], format_shape="NCHW"
    ),
)
test_pipeline = [
    dict(type="DecordInit"),
    dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=4, test_mode=True),
    dict(type="DecordDecode"),
    dict(type="Resize", scale=(-1, 32)),
    dict(type="CenterCrop", crop_size=32),
    dict(type="FormatShape", input_format="NCHW"),
    dict(type="PackActionInputs"),
]

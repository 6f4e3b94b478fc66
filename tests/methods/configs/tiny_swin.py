"""A 3D recogniser small enough for tests: Video Swin of two stages, clips of four frames of 32 pixels, four classes."""

model = dict(
    type="Recognizer3D",
    backbone=dict(
        type="SwinTransformer3D", arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 4]), pretrained=None,
        pretrained2d=True, patch_size=(2, 4, 4), window_size=(2, 4, 4), out_indices=(1,), drop_path_rate=0.1,
    ),
    cls_head=dict(type="I3DHead", in_channels=24, num_classes=4, spatial_type="avg", dropout_ratio=0.5,
                  average_clips="prob"),
    data_preprocessor=dict(
        type="ActionDataPreprocessor", mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375],
        format_shape="NCTHW",
    ),
)  # fmt: skip
test_pipeline = [
    dict(type="DecordInit"),
    dict(type="SampleFrames", clip_len=4, frame_interval=2, num_clips=3, test_mode=True),
    dict(type="DecordDecode"),
    dict(type="Resize", scale=(-1, 32)),
    dict(type="ThreeCrop", crop_size=32),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]

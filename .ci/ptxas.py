"""Compiles every CUDA program with NVRTC and assembles it with ptxas: no toolkit and no GPU.

Usage: ptxas.py KERNELS PACKAGES
KERNELS is the folder of the .cu files, PACKAGES the folder `nvidia/cu13` of the wheels nvidia-cuda-nvrtc and
nvidia-cuda-nvcc. Prints each kernel's registers and shared memory; a spill is a failure.
"""
import ctypes
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

ARCHITECTURES = ["80", "89", "90"]


def check(library, program, code):
    if code:
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        sys.exit(log.value.decode())


def compiled(library, source, name, options):
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    options = [option.encode() for option in options]
    check(library, program, library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)))
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, ptx)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.raw[:-1]


def nvrtc(packages):
    ctypes.CDLL(next((packages / "lib").glob("libnvrtc-builtins.so.13*")), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(next((packages / "lib").glob("libnvrtc.so.13*")))


def assembled(kernels, packages, line):
    """What a line of `programs` comes to: registers and shared memory of each kernel, how many were assembled, spills."""
    library, used, count, failures = nvrtc(packages), {}, 0, []
    file, *defines = line.split()
    source = (kernels / "common.cu").read_text() + (kernels / f"{file}.cu").read_text()
    for architecture in ARCHITECTURES:
        options = [f"--gpu-architecture=compute_{architecture}", "--std=c++17", *(f"-D{d}" for d in defines)]
        with tempfile.NamedTemporaryFile(suffix=".ptx") as file_of_ptx:
            file_of_ptx.write(compiled(library, source, f"{file}.cu", options))
            file_of_ptx.flush()
            command = [packages / "bin/ptxas", "-v", "-arch", f"sm_{architecture}", file_of_ptx.name, "-o", "/dev/null"]
            found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode:
            sys.exit(f"{line}, sm_{architecture}: {found.stderr}")
        kernel = ""
        for text in found.stderr.splitlines():
            if entry := re.search(r"Compiling entry function '(\w+)'", text):
                kernel, count = entry[1], count + 1
            if spill := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", text):
                if spill[1] != "0" or spill[2] != "0":
                    failures.append(f"{line}: {kernel} on sm_{architecture}: {spill[0]}")
            if registers := re.search(r"Used (\d+) registers", text):
                shared = re.search(r"(\d+) bytes smem", text)
                entry = used.setdefault(kernel, [[], 0])
                entry[0].append(int(registers[1]))
                entry[1] = int(shared[1]) if shared else 0
    return used, count, failures


def main():
    kernels, packages = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    lines = (kernels / "programs").read_text().splitlines()
    started, total, failures = time.time(), 0, []
    with ProcessPoolExecutor() as pool:
        results = pool.map(partial(assembled, kernels, packages), lines)
        for line, (used, count, spilled) in zip(lines, results):
            total += count
            failures += spilled
            for kernel, (registers, shared) in used.items():
                print(f"{line:28} {kernel:28} registers {'/'.join(map(str, registers)):12} shared {shared}", flush=True)
    print(f"{total} kernels for {', '.join(f'sm_{a}' for a in ARCHITECTURES)}: {time.time() - started:.0f} s")
    sys.exit("\n".join(failures) or None)


main()

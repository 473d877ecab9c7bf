#!/usr/bin/env python3
"""The memory of agents that wait, on an embedded network.

    benches/idle_memory.py PROGRAM [PROGRAM...]

starts two agents of each program and prints what they take after a while: all that is resident, what of it is their
own, and what is pages of the executable. The kernel maps 64 KiB of the executable around each function that is run, so
the last figure depends on where the linker has put the few functions that an agent at rest needs.

    benches/idle_memory.py PROGRAM --layout src/idle.ld

writes the linker script that puts them together. It takes valgrind and nm, and a PROGRAM with symbols that was linked
without the script:

    rm src/idle.ld; CARGO_PROFILE_DIST_STRIP=none cargo build --profile dist

It is to be done anew when the first figure has grown, such as after a change of the compiler's names for functions;
an outdated script does no harm.
"""

import argparse
import bisect
import collections
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time

WINDOW = 64 * 1024
# How many names of functions a script has at most: more of them win little.
NAMES = 330


class Network:
    """An embedded network with the OpsSC contracts, and the environments of its organizations' agents."""

    def __init__(self, program, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [program, "devnet", "up", "--dir", os.path.join(folder, "network")],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.environments = []
        lines = ""
        for line in self.process.stderr:
            lines += line
            if "Ctrl-C" in line:
                break
        for block in re.findall(r"export ((?:[^\n]*\\\n)*[^\n]*)", lines):
            words = shlex.split(block.replace("\\\n", " "))
            self.environments.append(dict(word.split("=", 1) for word in words))
        if len(self.environments) < 2:
            raise SystemExit(f"{program}: no network: {lines}")

    def agent(self, number, command, log):
        state = tempfile.mkdtemp(dir=self.folder)
        environment = dict(
            self.environments[number],
            AGENT_SERVICE_ADDRESS="127.0.0.1",
            AGENT_SERVICE_PORT="0",
            CHECKPOINT_DIR=state,
            CC_SERVER_LAUNCH_FROM_AGENT="false",
        )
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


def measure(programs, seconds):
    print(f"{'program':40} {'resident':>9} {'own':>7} {'program':>9}  KiB, after {seconds} s")
    for program in programs:
        with tempfile.TemporaryDirectory() as folder, Network(program, folder) as network:
            log = open(os.path.join(folder, "log"), "w", encoding="utf-8")
            agents = [network.agent(number, [program, "run"], log) for number in range(2)]
            time.sleep(seconds)
            for agent in agents:
                with open(f"/proc/{agent.pid}/status", encoding="utf-8") as status:
                    found = dict(re.findall(r"^(VmRSS|RssAnon|RssFile):\s+(\d+)", status.read(), re.M))
                print(f"{program[-40:]:40} {found['VmRSS']:>9} {found['RssAnon']:>7} {found['RssFile']:>9}")
            for agent in agents:
                end(agent)


def functions(program):
    """Every function in the order of addresses: its address, size and name."""
    listed = subprocess.run(
        ["nm", "-n", "-S", "--defined-only", program], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [(int(row[0], 16), int(row[1], 16), row[3]) for row in rows if len(row) == 4 and row[2] in "tTwW"]


def run_addresses(program, seconds):
    """The addresses of all instructions that an agent runs from its start on."""
    with tempfile.TemporaryDirectory() as folder, Network(program, folder) as network:
        trace = os.path.join(folder, "trace")
        valgrind = ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={trace}"]
        with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
            agent = network.agent(0, [*valgrind, program, "run"], log)
            time.sleep(seconds)
            end(agent)
        addresses, at = set(), 0
        with open(trace, encoding="utf-8") as lines:
            for line in lines:
                # An address, or what has to be added to the one before.
                position = re.match(r"(?:(0x[0-9a-f]+)|([+-]\d+)|\*) ", line)
                if position:
                    at = int(position[1], 16) if position[1] else at + int(position[2] or 0)
                    addresses.add(at)
        return addresses


def pattern(name):
    """A function's section, whatever the compiler has made of it this time. `None` for what is not Rust's."""
    if name.startswith("_ZN"):
        name = re.sub(r"17h[0-9a-f]{16}E.*$", "17h*", name)
    elif name.startswith("_R"):
        name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", re.sub(r"\.[0-9]+$|\.llvm\..*$", "", name)) + "*"
    else:
        return None
    return f".text.{name}" if re.fullmatch(r"[\w.$*]+", name) else None


def layout(program, seconds, path):
    known = functions(program)
    starts = [start for start, _, _ in known]
    patterns = [pattern(name) for _, _, name in known]
    size = collections.Counter()
    for (_, length, _), one in zip(known, patterns):
        size[one] += length
    used = set()
    for address in run_addresses(program, seconds):
        index = bisect.bisect_right(starts, address) - 1
        if index >= 0 and address < starts[index] + known[index][1]:
            used.add(index)
    # What each window of the executable is mapped for.
    windows = collections.defaultdict(set)
    for index in used:
        start, length, _ = known[index]
        for window in range(start // WINDOW, (start + length - 1) // WINDOW + 1):
            windows[window].add(patterns[index])
    windows = {window: wanted for window, wanted in windows.items() if None not in wanted}
    chosen = set()
    while windows:
        # The window that is given up for the fewest names and the least code.
        cost = lambda window: sum(2048 + size[one] for one in windows[window] - chosen)
        chosen |= windows.pop(min(windows, key=cost))
        windows = {window: wanted for window, wanted in windows.items() if not wanted <= chosen}
        if len(chosen) > NAMES:
            break
    with open(path, "w", encoding="utf-8") as script:
        script.write(
            "/* Functions that an agent at rest runs and that would lie far from each other, so that each of them would keep\n"
            "   64 KiB of the executable in memory. Written by benches/idle_memory.py; order is all that it changes. */\n"
            "SECTIONS\n{\n  .text.idle :\n  {\n"
        )
        script.writelines(f"    *({one})\n" for one in sorted(chosen))
        script.write("  }\n}\nINSERT BEFORE .text;\n")
    print(f"{path}: {len(chosen)} names, of {len(used)} functions that were run")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--seconds", type=int, default=75, help="how long agents run")
    parser.add_argument("--layout", metavar="FILE", help="write the linker script")
    given = parser.parse_args()
    programs = [os.path.abspath(program) for program in given.programs]
    if given.layout:
        layout(programs[0], given.seconds, given.layout)
    else:
        measure(programs, given.seconds)


main()

#!/usr/bin/env python3
"""Follows secrets through the machine code of the AVX-512 kernels, which valgrind cannot run.

Usage: vector_code.py PLANTS.o OBJECT[,popcnt][,planes]...

What vector instructions load is taken for secret. In no function may it reach an address or the
condition of a branch, by way of vector, mask and general registers, flags and stack slots; gathers
and scatters may not occur. Not followed: words that scalar instructions load. That text is shared
with the AVX2 and portable paths, where memcheck looks.

",popcnt": how many lanes a mask has is no secret there (rejections, kernels/securenn/draw.h).
",planes": only what is loaded into 512-bit registers is taken for secret there: the compiler reads
the layout, which is public, into shorter ones.
PLANTS.o has functions named leak_*, each of which must be found out, and clean_*, which must not.
"""

import re
import subprocess
import sys

GENERAL = {}
for wide, others in {"rax": "eax ax al ah", "rbx": "ebx bx bl bh", "rcx": "ecx cx cl ch",
                     "rdx": "edx dx dl dh", "rsi": "esi si sil", "rdi": "edi di dil",
                     "rbp": "ebp bp bpl", "rsp": "esp sp spl"}.items():
    GENERAL.update({name: wide for name in [wide, *others.split()]})
for i in range(8, 16):
    GENERAL.update({f"r{i}{suffix}": f"r{i}" for suffix in ("", "d", "w", "b")})
CALLER_SAVED = {"rax", "rcx", "rdx", "rsi", "rdi", *(f"r{i}" for i in range(8, 12))}
VECTORS = {f"v{i}" for i in range(32)}
MASKS = {f"k{i}" for i in range(8)}

NO_FLAGS = re.compile(r"mov|lea|not|nop|push|pop|xchg|bswap|set|cmov|v(?!p?test|ucomi|comi)|"
                      r"k(?!o?r?test)|rorx|sarx|shlx|shrx|pdep|pext|prefetch|endbr|ret|call|j|"
                      r"cltq|cqto|cltd|cwtl|stos|movs|mulx|leave|data16|cs$|int3|ud2|rep|sfence")
# The last operand is written whatever it was.
OVERWRITES = re.compile(r"mov(?!.*\{)|lea|set|popcnt|tzcnt|lzcnt|pop$|kmov|kn?or|kand|kxor|knot|"
                        r"kadd|kshift|kunpck|v|rorx|sarx|shlx|shrx|pdep|pext|andn|bextr|bl[sz]")
ADDS_TO = re.compile(r"vfn?m(add|sub)|vpmadd52|vpdp|vpternlog|vperm[it]2|vpshldv|vpshrdv")


# A compiler keeps pointers in vector registers, too, and loads them there.
SCALAR = {"vmovq", "vmovd", "vpinsrq"}


def register(text):
    name = text.lstrip("%*")
    if name in GENERAL:
        return GENERAL[name]
    match = re.fullmatch(r"[xyz]mm(\d+)", name)
    if match:
        return "v" + match.group(1)
    return name if re.fullmatch(r"k[0-7]", name) else None


def operands_of(text):
    parts, depth, at = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[at:i])
            at = i + 1
    return [p.strip() for p in [*parts, text[at:]] if p.strip()]


class Instruction:
    def __init__(self, address, text):
        self.address, self.text = address, text
        text = re.sub(r"\s*[#<].*", "", text)
        words = text.split(None, 1)
        while words and words[0] in ("lock", "rep", "repz", "notrack", "bnd", "cs", "data16", "ds"):
            words = words[1].split(None, 1) if len(words) > 1 else []
        self.name = words[0] if words else "nop"
        self.masks = [] if len(words) < 2 else re.findall(r"\{%(k[1-7])\}", words[1])
        self.zeroes = len(words) > 1 and "{z}" in words[1]
        self.operands = operands_of(re.sub(r"\{.*?\}", "", words[1])) if len(words) > 1 else []
        self.memory = [o for o in self.operands if "(" in o]
        self.is_jump = self.name.startswith("j")
        self.target = None
        if self.is_jump and re.fullmatch(r"[0-9a-f]+", self.operands[0]):
            self.target = int(self.operands[0], 16)

    def address_registers(self):
        for operand in self.memory:
            inside = operand[operand.index("(") + 1:operand.index(")")]
            yield from filter(None, (register(r) for r in inside.split(",")[:2]))

    def slot(self, operand):
        """A place on the stack, if the operand names exactly one."""
        match = re.fullmatch(r"(-?0x[0-9a-f]+|)\(%(rsp|rbp)\)", operand)
        return f"slot {match.group(2)}{match.group(1)}" if match else None


def is_vector(name):
    return name is not None and name[0] == "v"


def step(i, state, options):
    """What is secret after instruction i. `state`: secret registers, flags and stack slots, and
    "clean" slots, which hold what is not."""
    after = set(state)
    if i.name.startswith("call"):
        return after - CALLER_SAVED - VECTORS - MASKS - {"flags"}
    if not i.operands or i.is_jump or i.name in ("ret", "nop", "leave", "nopw", "nopl", "push"):
        return after
    destination = i.operands[-1]
    goes_to = register(destination)
    reads_last = not OVERWRITES.match(i.name) or ADDS_TO.match(i.name) or (
        i.masks and not i.zeroes)
    compares = i.name.startswith(("cmp", "test", "vptest", "kortest", "ktest", "vucomi", "vcomi"))
    if i.name.startswith("vptestm") or i.name.startswith("vptestnm"):
        compares = False
    sources = i.operands if (reads_last or compares or len(i.operands) == 1) else i.operands[:-1]
    if len(i.operands) == 1 and i.name.startswith(("set", "pop")):
        sources = []
    secret = any(mask in state for mask in i.masks)
    if i.name.startswith("lea"):
        secret = any(r in state for r in i.address_registers())
        sources = []
    for operand in sources:
        if "(" in operand:
            slot = i.slot(operand)
            if slot in state:
                secret = True
            elif "rip" not in operand and f"clean {slot}" not in state and not (
                    slot and i.name.startswith("vpbroadcast")):
                secret = secret or (i.name.startswith("v") and i.name not in SCALAR and
                                    ("planes" not in options or "zmm" in i.text))
        elif register(operand) in state:
            secret = True
    if i.name.startswith(("cmov", "set", "adc", "sbb")) and "flags" in state:
        secret = True
    same = [o for o in i.operands[:2] if not o.startswith("$")]
    if re.match(r"v?p?xor|sub|vpsub|kxor|sbb$", i.name) and len(same) == 2 and same[0] == same[1]:
        secret = i.name.startswith("sbb") and "flags" in state
    if (i.name.startswith("vpternlog") and i.operands[0] == "$0xff") or (
            i.name.startswith("vpcmpeq") and len(set(i.operands)) == 1):
        secret = False  # all ones
    if i.name == "popcnt" and "popcnt" in options:
        secret = False

    def put(where, value):
        (after.add if value else after.discard)(where)

    if not NO_FLAGS.match(i.name) and not i.name.startswith(("vptestm", "vptestnm")):
        put("flags", secret)
    if compares:
        return after
    if i.name in ("mul", "imul", "div", "idiv", "mulq", "divq") and len(i.operands) == 1:
        put("rax", secret or "rax" in state)
        put("rdx", secret or "rax" in state)
        return after
    if goes_to is not None:
        put(goes_to, secret)
    elif "(" in destination:
        slot = i.slot(destination)
        if slot is not None:
            put(slot, secret)
            put(f"clean {slot}", not secret)
    return after


def leaks_of(code, options=()):
    """Instructions at which a secret becomes an address or a branch."""
    places = {i.address: n for n, i in enumerate(code)}
    before = [None] * len(code)
    before[0] = {f"v{i}" for i in range(8)}  # an argument may be a vector of secrets
    todo, found = [0], {}
    while todo:
        n = todo.pop()
        i, state = code[n], before[n]
        if re.search("gather|scatter", i.name):
            found[i.address] = i.text
        if any(r in state for r in i.address_registers()) and not i.name.startswith(("lea", "nop")):
            found[i.address] = i.text
        conditional = i.is_jump and not i.name.startswith("jmp")
        if conditional and "flags" in state:
            found[i.address] = i.text
        if i.operands and i.operands[0].startswith("*") and register(i.operands[0]) in state:
            found[i.address] = i.text
        after = step(i, state, options)
        following = [] if i.name.startswith(("ret", "jmp", "ud2")) else [n + 1]
        if i.target in places:
            following.append(places[i.target])
        for m in following:
            if m >= len(code):
                continue
            # What is clean on one way only is not.
            secrets = {s for s in after if not s.startswith("clean ")}
            clean = {s for s in after if s.startswith("clean ")}
            if before[m] is None:
                joined = secrets | clean
            else:
                known = {s for s in before[m] if s.startswith("clean ")}
                joined = (secrets | (before[m] - known)) | (clean & known)
            if joined != before[m]:
                before[m] = joined
                todo.append(m)
    return found


def functions_of(path):
    text = subprocess.run(["objdump", "-dC", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    functions, name = {}, None
    for line in text.split("\n"):
        start = re.fullmatch(r"[0-9a-f]+ <(.*)>:", line)
        if start:
            name = start.group(1)
            while name in functions:
                name += "'"
            functions[name] = []
            continue
        instruction = re.fullmatch(r"\s*([0-9a-f]+):\t(.*)", line)
        if instruction and name is not None:
            functions[name].append(Instruction(int(instruction.group(1), 16),
                                               instruction.group(2).strip()))
    return functions


def main():
    plants, objects = sys.argv[1], sys.argv[2:]
    wrong = []
    for name, code in functions_of(plants).items():
        found = leaks_of(code)
        if name.startswith("leak_") and not found:
            wrong.append(f"the planted {name} was not found out")
        if name.startswith("clean_") and found:
            wrong.append(f"{name} was accused: {found}")
    for argument in objects:
        path, *options = argument.split(",")
        functions = functions_of(path)
        vectors = sum(any("zmm" in i.text for i in code) for code in functions.values())
        instructions = sum(len(code) for code in functions.values())
        print(f"{path}: {instructions} instructions, {vectors} functions on 512-bit registers")
        if vectors == 0:
            wrong.append(f"{path}: no AVX-512 in it")
        for name, code in functions.items():
            if not code:
                continue
            found = leaks_of(code, options)
            wrong += [f"{path}: {name[:100]}: {address:x}: {text}" for address, text in
                      sorted(found.items())]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""EMV by pyemv: the operation, a key, then what the operation takes; octets in hexadecimal."""
import sys
from pyemv import ac, cvn, kd, sm

PADDING = {"zeros": ac.PaddingType.VISA, "80": ac.PaddingType.EMV}
ENCIPHERMENT = {
    "visa": sm.EncryptionType.VISA,
    "mastercard": sm.EncryptionType.MASTERCARD,
    "emv": sm.EncryptionType.EMV,
}


def octets(text):
    return bytes.fromhex(text)


def tree(key, atc, height, branch, iv):
    return kd.derive_emv2000_tree_sk(key, octets(atc), int(height), int(branch), octets(iv))


def suite(smi, smc, name, pan, psn, pin, current, script, *values):
    """Cryptogram, answer, PIN change, MAC and encipherment of a script: the classes of pyemv take different arguments each."""
    card = getattr(cvn, name)(suite.key, octets(smi), octets(smc), pan, psn)
    names = ("9f02", "9f03", "9f1a", "95", "5f2a", "9a", "9c", "9f37", "82", "9f36")
    have = {"tag_" + tag: octets(value) for tag, value in zip(names, values)}
    iad, arc, csu, proprietary = (octets(value) for value in values[len(names):])
    have["tag_9f10"] = iad
    have["cvr"] = iad[3:7] if name.startswith("Visa") else iad[2:8]
    have["counters"] = iad[10:18]
    have["arpc_rc"], have["csu"], have["proprietary_auth_data"] = arc, csu, proprietary
    have["pin"], have["current_pin"] = pin, current or None

    def call(function):
        code = function.__func__.__code__
        wanted = code.co_varnames[1:code.co_argcount]
        return function(**{name: have[name] for name in wanted})

    have["tag_9f26"] = call(card.generate_ac)
    have["command_header"], have["command_data"] = octets("8424000008"), octets(script)
    return b"".join(
        [
            have["tag_9f26"],
            call(card.generate_arpc),
            call(card.generate_pin_change_command),
            call(card.generate_command_mac),
            call(card.encrypt_command_data),
        ]
    )


def run(operation, key, *rest):
    key = octets(key)
    suite.key = key
    return {
        "mk_a": lambda pan, psn: kd.derive_icc_mk_a(key, pan, psn),
        "mk_b": lambda pan, psn: kd.derive_icc_mk_b(key, pan, psn),
        "common": lambda value: kd.derive_common_sk(key, octets(value)),
        "visa": lambda atc: kd.derive_visa_sm_sk(key, octets(atc)),
        "tree": lambda *walk: tree(key, *walk),
        "ac": lambda padding, data: ac.generate_ac(key, octets(data), PADDING[padding]),
        "arpc_1": lambda arqc, arc: ac.generate_arpc_1(key, octets(arqc), octets(arc)),
        "arpc_2": lambda arqc, csu, data: ac.generate_arpc_2(key, octets(arqc), octets(csu), octets(data)),
        "script_mac": lambda length, data: sm.generate_command_mac(key, octets(data), int(length)),
        "encipher": lambda how, data: sm.encrypt_command_data(key, octets(data), ENCIPHERMENT[how]),
        "vis_pin": lambda pin, current: sm.format_vis_pin_block(key, pin, current or None),
        "iso2_pin": lambda pin: sm.format_iso9564_2_pin_block(pin),
        "suite": suite,
    }[operation](*rest)


for line in sys.stdin:
    print(run(*line.rstrip("\n").split("\t")).hex().upper())

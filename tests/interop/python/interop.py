"""The PyPI libraries `joserfc` and `jwcrypto` as independent readers and writers of our tokens.

    python interop.py open joserfc|jwcrypto cases.json    opens each token, prints what it read
    python interop.py make joserfc|jwcrypto cases.json    generates signing keys, prints tokens made with them

The Rust test (tests/tests/interop) writes the cases and judges the answers;
tests/interop/README.md describes both. Nothing here knows Waxseal's code: all it
has is public JOSE calls, key documents and the headers it is told to write.
"""

import base64
import json
import sys
import warnings

KEY_OF_ALGORITHM = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    "PS256": ("RSA", 2048),
}


class Joserfc:
    """joserfc: strict about header members, wants every algorithm named."""

    def __init__(self):
        # It warns that RFC 9864 deprecates the name "EdDSA"; partners use it all the same.
        warnings.simplefilter("ignore")
        from joserfc import jwe, jwk, jws

        self.jwe, self.jwk, self.jws = jwe, jwk, jws

    def decrypt(self, token, key, alg):
        opened = self.jwe.decrypt_compact(token, self.jwk.import_key(key), algorithms=[alg, "A256GCM"])
        return opened.plaintext, opened.headers()

    def verify(self, token, key, alg):
        opened = self.jws.deserialize_compact(token, self.jwk.import_key(key), algorithms=[alg])
        return opened.payload, opened.headers()

    def encrypt(self, header, payload, key):
        allowed = [header["alg"], header["enc"]]
        return self.jwe.encrypt_compact(header, payload, self.jwk.import_key(key), algorithms=allowed)

    def sign(self, header, payload, key):
        return self.jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])

    def generate(self, kind, parameter):
        key = self.jwk.generate_key(kind, parameter)
        return key, key.as_dict(private=False)

    def thumbprint(self, key):
        return self.jwk.import_key(key).thumbprint()


class Jwcrypto:
    """jwcrypto: the algorithms that a token may use are set on the object."""

    def __init__(self):
        from jwcrypto import jwe, jwk, jws

        self.jwe, self.jwk, self.jws = jwe, jwk, jws

    def decrypt(self, token, key, alg):
        opened = self.jwe.JWE(algs=[alg, "A256GCM"])
        opened.deserialize(token, self.jwk.JWK(**key))
        return opened.payload, opened.jose_header

    def verify(self, token, key, alg):
        opened = self.jws.JWS()
        opened.allowed_algs = [alg]
        opened.deserialize(token, self.jwk.JWK(**key), alg)
        return opened.payload, opened.jose_header

    def encrypt(self, header, payload, key):
        token = self.jwe.JWE(payload, protected=json.dumps(header), algs=[header["alg"], header["enc"]])
        token.add_recipient(self.jwk.JWK(**key))
        return token.serialize(compact=True)

    def sign(self, header, payload, key):
        token = self.jws.JWS(payload)
        token.allowed_algs = [header["alg"]]
        token.add_signature(key, header["alg"], protected=json.dumps(header))
        return token.serialize(compact=True)

    def generate(self, kind, parameter):
        size = {"size": parameter} if kind == "RSA" else {"crv": parameter}
        key = self.jwk.JWK.generate(kty=kind, **size)
        return key, json.loads(key.export_public())

    def thumbprint(self, key):
        return self.jwk.JWK(**key).thumbprint()


def open_case(library, case):
    answer = {"name": case["name"]}
    content = case["token"]
    if case.get("decrypt"):
        content, header = library.decrypt(content, case["decrypt"], case["key_management"])
        answer["outer_header"] = header
        answer["recipient_thumbprint"] = library.thumbprint(case["decrypt"])
    if case.get("verify"):
        token = content if isinstance(content, str) else content.decode("ascii")
        content, header = library.verify(token, case["verify"], case["alg"])
        answer["header"] = header
        answer["signer_thumbprint"] = library.thumbprint(case["verify"])
    answer["payload"] = encode(content)
    return answer


def make_case(library, case, signers={}):
    answer = {"name": case["name"]}
    content = decode(case["payload"])
    if case.get("header"):
        alg = case["header"]["alg"]
        if alg not in signers:
            key, public = library.generate(*KEY_OF_ALGORITHM[alg])
            public.update(kid=library.thumbprint(public), use="sig", alg=alg)
            signers[alg] = key, public
        key, public = signers[alg]
        content = library.sign({**case["header"], "kid": public["kid"]}, content, key)
        answer["verify"] = public
    if case.get("encrypt"):
        content = library.encrypt(case["outer_header"], content, case["encrypt"])
    answer["token"] = content
    return answer


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def main():
    actions = {"open": open_case, "make": make_case}
    libraries = {"joserfc": Joserfc, "jwcrypto": Jwcrypto}
    if len(sys.argv) != 4 or sys.argv[1] not in actions or sys.argv[2] not in libraries:
        sys.exit("usage: python interop.py open|make joserfc|jwcrypto cases.json")
    act, library = actions[sys.argv[1]], libraries[sys.argv[2]]()
    with open(sys.argv[3], encoding="utf-8") as file:
        cases = json.load(file)
    answers = []
    for case in cases:
        try:
            answers.append(act(library, case))
        except Exception as error:  # every refusal is an answer: the Rust side judges it
            answers.append({"name": case["name"], "error": f"{type(error).__name__}: {error}"})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

"""The keys at the top of the chains that driver signatures hang on.

Catalogues leave the root certificate out, so the last link can be verified with these alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RootKey:
    """An RSA key: the common name and the SHA-1 thumbprint of its certificate, and the key."""

    name: str
    thumbprint: str
    modulus: int
    exponent: int = 65537


#: The authorities that Microsoft let sign kernel drivers, until 2021: the SHA-256 of the public
#: keys (SubjectPublicKeyInfo) that Microsoft signed with its Code Verification Root, by the common
#: names of their certificates (Microsoft, "Cross-Certificates for Kernel Mode Code Signing").
CROSS_CERTIFIED = {
    "VeriSign Class 3 Public Primary Certification Authority - G5": (
        "25b41b506e4930952823a6eb9f1d31def645ea38a5c6c6a96d71957e384df058"
    ),
    "VeriSign Universal Root Certification Authority": (
        "967b0cd93fcef7f27ce2c245767ae9b05a776b0649f9965b6290968469686872"
    ),
    "DigiCert Assured ID Root CA": (
        "23f2edff3ede90259a9e30f40af8f912a5e5b3694e6938440341f6060e014ffa"
    ),
    "DigiCert Global Root CA": ("aff988906dde12955d9bebbf928fdcc31cce328d5b9384f21c8941ca26e20391"),
    "DigiCert High Assurance EV Root CA": (
        "5a889647220e54d6bd8a16817224520bb5c78e58984bd570506388b9de0f075f"
    ),
    "GlobalSign Root CA": ("2bcee858158cf5465fc9d76f0dfa312fef25a4dca8501da9b46b67d1fbfa1b64"),
    "Entrust.net Certification Authority (2048)": (
        "1ea3c5e43ed66c2da2983a42a4a79b1e906786ce9f1b58621419a00463a87d38"
    ),
    "thawte Primary Root CA": ("1d75d0831b9e0885394d32c7a1bfdb3dbc1c28e2b0e8391fb135981dbc5ba936"),
    "GeoTrust Primary Certification Authority": (
        "4905466623ab4178be92ac5cbd6584f7a1e17f27652d5a85af89504ea239aaaa"
    ),
    "AddTrust External CA Root": (
        "942a6916a6e4ae527711c5450247a2a74fb8e156a8254ca66e739a11493bb445"
    ),
    "Starfield Root Certificate Authority - G2": (
        "808d68b3fab4884a5f971ace7d10550d7a95a163774f3ec36afffb213fbe4c74"
    ),
    "Go Daddy Root Certificate Authority - G2": (
        "2a8f2d8af0eb123898f74c866ac3fa669054e23c17bc7a95bd0234192dc635d0"
    ),
    "Certum Trusted Network CA": (
        "aa2630a7b617b04d0a294bab7a8caaa5016e6dbe604837a83a85719fab667eb5"
    ),
    "UTN-USERFirst-Object": ("0fe14c264b17bb6f0d653e7a70eb363dbf54be158039eddae5c25711df48c103"),
}

#: The roots of Microsoft's own signatures; every Windows holds their certificates (Microsoft,
#: "Required trusted root certificates").
MICROSOFT_ROOTS = (
    RootKey(
        "Microsoft Root Authority",
        "a43489159a520f0d93d032ccaf37e7fe20a8b419",
        int(
            "a902bdc170e63bf24e1b289f97785e30eaa2a98d255ff8fe954ca3b7fe9da2203e7c51a29ba28f60"
            "326bd1426479eeac76c954daf2eb9c861c8f9f8466b3c56b7a6223d61d3cde0f0192e896c4bf2d66"
            "9a9a682699d03a2cbf0cb55826c146e70a3e38962ca92839a8ec498342e3840fbb9a6c5561ac827c"
            "a1602d774ce999b4643b9a501c310824149fa9e7912b18e63d986314605805659f1d375287f7a7ef"
            "9402c61bd3bf5545b38980bf3aec54944eaefda77a6d744eaf18cc96092821005790606937bb4b12"
            "073c56ff5bfba4660a08a6d2815657efb63b5e16817704daf6beae8095feb0cd7fd6a71a725c3cca"
            "bcf008a32230b30685c9b320771385df",
            16,
        ),
    ),
    RootKey(
        "Microsoft Root Certificate Authority",
        "cdd4eeae6000ac7f40c3802c171e30148030c072",
        int(
            "f35dfa8067d45aa7a90c2c9020d035083c7584cdb707899c89dadecec360fa91685a9e9471291876"
            "7cc2e0c82576940e58fa043436e6dfaff780bae9580b2b93e59d05e3772291f734643c22911d5ee1"
            "0990bc14fefc755819e179b70792a3ae885908d89f07ca0358fc68296d32d7d2a8cb4bfce10b4832"
            "4fe6ebb8ad4fe45c6f139499db95d575dba81ab79491b4775bf5480c8f6a797d1470047d6daf90f5"
            "da70d847b7bf9b2f6ce705b7e11160ac7991147cc5d6a6e4e17ed5c37ee592d23c00b53682de79e1"
            "6df3b56ef89f33c9cb527d739836db8ba16ba295979ba3dec24d26ff0696672506c8e7ace4ee1233"
            "953199c835084e34ca7953d5b5be6332594036c0a54e044d3ddb5b0733e458bfef3f5364d8425935"
            "57fd0f457c24044d9ed6387411972290ce684474926fd54b6fb086e3c73642a0d0fcc1c05af9a361"
            "b9304771960a16b091c04295ef107f286ae32a1fb1e4cd033f777104c720fc490f1d4588a4d7cb7e"
            "88ad8e2dec45dbc45104c92afcec869e9a11975bdece5388e6e2b7fdac95c22840dbef0490df8133"
            "39d9b245a5238706a5558931bb062d600e41187d1f2eb597cb11eb15d524a594ef151489fd4b73fa"
            "325bfcd13300f95962700732ea2eab402d7bcadd21671b30998f16aa23a841d1b06e119b36c4de40"
            "749ce15865c1601e7a5b38c88fbb04267cd41640e5b66b6caa86fd00bfcec135",
            16,
        ),
    ),
    RootKey(
        "Microsoft Root Certificate Authority 2010",
        "3b1efd3a66ea28b16697394703a72ca340a05bd5",
        int(
            "b9089e28e4e4ec064e5068b341c57bebaeb68eaf81ba22441f6534694cbe704017f2167be279fd86"
            "ed0d39f41ba8ad92901ecb3d768f5ad9b591102e3c058d8a6d2454e71fed56ad83b4509c15a51774"
            "885920fc08c58476d368d46f2878ce5cb8f3509044ffe3635fbea19a2c961504d607fe1e8421e042"
            "3111c4283694cf50a4629ec9d6ab7100b25b0ce696d40a2496f5ffc6d5b71bd7cbb72162af12dca1"
            "5d37e31afb1a4698c09bc0e7631f2a0893027e1e6a8ef29f1889e42285a2b1845740fff50ed86f9c"
            "ede2453101cd17e97fb08145e3aa214026a172aaa74f3c01057eee8358b15e06639962917882b70d"
            "930c246ab41bdb27ec5f95043f934a30f59718b3a7f919a793331d01c8db22525cd725c946f9a2fb"
            "875943be9b62b18d2d86441a46ac78617e3009faae89c4412a2266039139459cc78b0ca8ca0d2ffb"
            "52ea0cf76333239dfeb01fad67d6a75003c6047063b52cb1865a43b7fbaef96e296e21214126068c"
            "c9c3eeb0c28593a1b985d9e6326c4b4c3fd65da3e5b59d77c39cc055b77400e3b838ab839750e19a"
            "42241dc6c0a330d11a5ac85234f773f1c7181f33ad7aeccb4160f3239420c24845ac5c51c62e80c2"
            "e27715bd8587ed369d9691ee00b5a370ec9fe38d80688376baaf5d70522216e266fbbab3c5c2f73e"
            "2f77a6cadec1a6c6484cc3375123d327d7b84e7096f0a14476af78cf9ae16613",
            16,
        ),
    ),
    RootKey(
        "Microsoft Root Certificate Authority 2011",
        "8f43288ad272f3103b6fb1428485ea3014c0bcfe",
        int(
            "b28041aa35384d13723268224db8b2f1ffd552bc6cc7f5d24a8c36eed1c25c7e8c8aaeaf13286fc0"
            "73e33aced025a85a3a6defa8b859ab132368cd0c2987d16f805c8f447f5d90015258ac51c55f2a87"
            "dcdcd80a1dc103b97bb056e8a3de6461c29ef8f37cb9ec0db554fe4cb6654f88f09c48990c420b09"
            "7c315917790678288d893a4c0325be716a5c0be78460a49922e3d2af84a4a7fbd198ed0ca9de9489"
            "e10ea0dcc0ce993dea0852bb5679e41f84ba1eb8b4c4495c4f314b87dddd0567269980e07111a3b8"
            "a541e2a453b9f73229830c13bf365e04b34b43472f6be2911ed3984fdd4207c8e81d12fc99a96b3e"
            "927ec8d6693afc64bdb6099dcafd0c0ba29b77604b0394a4306912d6422dc1414ccadcaafd8f5b83"
            "469ad9fcb1d1e3b3c97f487acd24f0418f5c74d0acb010200649b7c72d21c857e3d086f30368fbd0"
            "ce71c189994a64016cfdec3091cf413c92c7e5ba861d6184c75f833962aeb4922f47f30bf855eba0"
            "1f59d0bb749b1ed076e6f2e906d710e8fa64de69c635968802f046b83f27996fcb71892935f74816"
            "02358fd5797c4d02cf5feb8a834f457188f9a90d4e72e9c29c07cf491b4e040e63518c5ed800c155"
            "2cb6c6e0c2654ec93439f59cb3c47ee8616e135f15c45fd97eed1dceee44eccb2e86b1ec38f670ed"
            "ab5c13c1d90f0dc780b255ed34f7ac9be4c3dae7473ca6b58f31dfc54bafebf1",
            16,
        ),
    ),
)

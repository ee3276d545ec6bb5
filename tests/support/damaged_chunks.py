"""Damage to the chunks of a file."""

import h5py


def damage(path, chunks):
    """Change a byte in the middle of some chunks."""
    with h5py.File(path, "r") as file:
        identity = file["images"].id
        places = [identity.get_chunk_info_by_coord((c, 0, 0, 0)) for c in chunks]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place.byte_offset + place.size // 2] ^= 0x55
    path.write_bytes(content)

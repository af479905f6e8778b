"""Rays to places on a panel and amplitudes of reflections, by the chosen stages."""


def geometry(p, fast, slow, layer): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def structure_factor(p, h, k, l, h0, k0, l0, wavelength, latched): ...


def claim(counter): ...


def find_rays(p, incident, fast, slow, layer, rays):
    """Fill rays (n, 4): directions, and the solid angle of a pixel, polarization and captured fraction multiplied."""
    ix, iy, iz = incident[0], incident[1], incident[2]
    for n in range(fast.size):
        dx, dy, dz, solid_angle, capture = geometry(p.geometry, fast[n], slow[n], layer[n])
        rays[n, 0], rays[n, 1], rays[n, 2] = dx, dy, dz
        rays[n, 3] = solid_angle * capture * polarization(p.polarization, ix, iy, iz, dx, dy, dz)


def add_background(p, incident, height, layers, first_fast, last_fast, first_slow, last_slow, image, counter):
    """Add what scatters alike in all directions, photons per solid angle, at the middles of the pixels of a region; rows are claimed."""
    ix, iy, iz = incident[0], incident[1], incident[2]
    while True:
        slow = first_slow + claim(counter)
        if slow > last_slow:
            break
        row = image[slow, first_fast : last_fast + 1]
        for layer in range(layers):
            for i in range(row.size):  # from 0 on, and along one row, as it vectorises
                dx, dy, dz, solid_angle, capture = geometry(p.geometry, first_fast + 0.5 + i, slow + 0.5, layer)
                row[i] += height * solid_angle * capture * polarization(p.polarization, ix, iy, iz, dx, dy, dz)


def find_amplitudes(p, hkl, wavelength, amplitudes):
    """Fill amplitudes (n,) of reflections (n, 3)."""
    for n in range(amplitudes.size):
        h, k, l = hkl[n, 0], hkl[n, 1], hkl[n, 2]
        amplitudes[n] = structure_factor(p.structure_factor, h, k, l, h, k, l, wavelength, 0)

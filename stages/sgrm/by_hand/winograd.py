"""3x3 convolution on a CPU by minimal filtering F(2x2, 3x3): 16 products a 2x2 tile where the definition takes 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. Input tiles d (4x4, stride
2), kernels g and outputs y (2x2) are related by ``y = A^T [(G g G^T) * (B^T d B)] A``; summed over input channels, the
elementwise product is 16 matrix products. Both transforms are taken rows first, then columns, one row of tiles at a
time, so that all of it stays in the cache. Backward is the same with each transform transposed.

Maps are ``(H, W, C)`` float32, channels last; kernels are ``(3, 3, C_in, C_out)``. What is outside the map is zero.
"""

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - used by numba's np.dot; loaded before its threads are limited

__all__ = ["backward", "forward", "kernel_gradient", "kernel_products"]

_ANY_ORDER = {"reassoc", "contract", "nsz"}
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def kernel_products(kernels: np.ndarray) -> np.ndarray:
    """``G g G^T``: ``(16, C_in, C_out)`` of kernels ``(3, 3, C_in, C_out)``, all float32."""
    products = np.einsum("ia,jb,abcd->ijcd", _KERNEL, _KERNEL, kernels, optimize=True)
    return np.ascontiguousarray(products).reshape(16, *kernels.shape[2:])


def kernel_gradient(products: np.ndarray) -> np.ndarray:
    """The gradient of kernels ``(3, 3, C_in, C_out)``, given that of their products ``(16, C_in, C_out)``."""
    by_place = products.reshape(4, 4, *products.shape[1:])
    return np.einsum("ia,jb,ijcd->abcd", _KERNEL, _KERNEL, by_place, optimize=True)


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def forward(
    values: np.ndarray, scale: np.ndarray, shift: np.ndarray, products: np.ndarray, bias: np.ndarray, out: np.ndarray
) -> None:
    """``out = ReLU(convolution of (scale * values + shift) + bias)``.

    values: ``(H, W, C_in)``. scale, shift: ``(C_in,)``. products: see `kernel_products`. bias: ``(C_out,)``. out:
    ``(H, W, C_out)``.
    """
    height, width, inputs = values.shape
    tiles, outputs = (width + 1) // 2, out.shape[2]
    rows = np.empty((4, 2 * tiles + 2, inputs), np.float32)
    places = np.empty((16, tiles, inputs), np.float32)
    summed = np.empty((16, tiles, outputs), np.float32)
    found = np.empty((4, 2 * tiles, outputs), np.float32)
    for tile in range((height + 1) // 2):
        _input_rows(values, scale, shift, 2 * tile - 1, rows)
        _input_columns(rows, places)
        for k in range(16):
            np.dot(places[k], products[k], summed[k])
        for i in range(4):
            for q in range(tiles):
                for c in range(outputs):
                    m0, m1, m2, m3 = (
                        summed[4 * i, q, c], summed[4 * i + 1, q, c], summed[4 * i + 2, q, c], summed[4 * i + 3, q, c],
                    )  # fmt: skip
                    found[i, 2 * q, c] = m0 + m1 + m2
                    found[i, 2 * q + 1, c] = m1 - m2 - m3
        for x in range(width):
            for c in range(outputs):
                out[2 * tile, x, c] = max(found[0, x, c] + found[1, x, c] + found[2, x, c] + bias[c], np.float32(0))
            if 2 * tile + 1 < height:
                for c in range(outputs):
                    value = found[1, x, c] - found[2, x, c] - found[3, x, c] + bias[c]
                    out[2 * tile + 1, x, c] = max(value, np.float32(0))


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def backward(
    values: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    products: np.ndarray,
    gradient: np.ndarray,
    to_products: np.ndarray,
    to_input: np.ndarray,
) -> None:
    """Gradients of what `forward` convolves (arguments as there), given that of the sums before its bias.

    gradient: ``(H, W, C_out)``. to_products: ``(16, C_in, C_out)``, overwritten; see `kernel_gradient`. to_input:
    ``(2 ceil(H/2) + 2, 2 ceil(W/2) + 2, C_in)``, overwritten; its ``[1 : H + 1, 1 : W + 1]`` is the gradient of
    ``scale * values + shift``.
    """
    height, width, inputs = values.shape
    tiles, outputs = (width + 1) // 2, gradient.shape[2]
    rows = np.empty((4, 2 * tiles + 2, inputs), np.float32)
    places = np.empty((16, tiles, inputs), np.float32)
    summed = np.empty((16, tiles, outputs), np.float32)
    turned = np.empty((16, outputs, inputs), np.float32)
    for k in range(16):
        turned[k] = products[k].T
    part = np.empty((inputs, outputs), np.float32)
    to_products[:] = 0
    to_input[:] = 0
    for tile in range((height + 1) // 2):
        _input_rows(values, scale, shift, 2 * tile - 1, rows)
        _input_columns(rows, places)
        _output_gradient(gradient, 2 * tile, summed)
        for k in range(16):
            np.dot(places[k].T, summed[k], part)
            to_products[k] += part
        for k in range(16):
            np.dot(summed[k], turned[k], places[k])
        _input_gradient(places, rows, to_input[2 * tile : 2 * tile + 4])


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _input_rows(values: np.ndarray, scale: np.ndarray, shift: np.ndarray, first: int, rows: np.ndarray) -> None:
    """The row transform B^T of four rows of ``scale * values + shift``, with a zero column on each side."""
    height, width, inputs = values.shape
    rows[:, 0] = 0
    rows[:, width + 1 :] = 0
    has0, has1, has2, has3 = first >= 0, first + 1 < height, first + 2 < height, first + 3 < height
    row0, row1 = values[max(first, 0)], values[first + 1]
    row2, row3 = values[min(first + 2, height - 1)], values[min(first + 3, height - 1)]
    for x in range(width):
        for c in range(inputs):
            d0 = scale[c] * row0[x, c] + shift[c] if has0 else np.float32(0)
            d1 = scale[c] * row1[x, c] + shift[c] if has1 else np.float32(0)
            d2 = scale[c] * row2[x, c] + shift[c] if has2 else np.float32(0)
            d3 = scale[c] * row3[x, c] + shift[c] if has3 else np.float32(0)
            rows[0, x + 1, c] = d0 - d2
            rows[1, x + 1, c] = d1 + d2
            rows[2, x + 1, c] = d2 - d1
            rows[3, x + 1, c] = d1 - d3


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _input_columns(rows: np.ndarray, places: np.ndarray) -> None:
    """The column transform B of transformed rows: ``(16, tiles, C)``."""
    for i in range(4):
        for q in range(places.shape[1]):
            for c in range(places.shape[2]):
                d0, d1, d2, d3 = rows[i, 2 * q, c], rows[i, 2 * q + 1, c], rows[i, 2 * q + 2, c], rows[i, 2 * q + 3, c]
                places[4 * i, q, c] = d0 - d2
                places[4 * i + 1, q, c] = d1 + d2
                places[4 * i + 2, q, c] = d2 - d1
                places[4 * i + 3, q, c] = d1 - d3


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _output_gradient(gradient: np.ndarray, first: int, summed: np.ndarray) -> None:
    """``A dy A^T`` of a row of tiles, whose upper map row is ``first``: ``(16, tiles, C)``."""
    height, width, outputs = gradient.shape
    lower = first + 1 < height
    top, bottom = gradient[first], gradient[first + 1 if lower else first]
    for q in range(summed.shape[1]):
        left, right = 2 * q, min(2 * q + 1, width - 1)
        paired = 2 * q + 1 < width
        for c in range(outputs):
            y00, y01 = top[left, c], top[right, c] if paired else np.float32(0)
            y10 = bottom[left, c] if lower else np.float32(0)
            y11 = bottom[right, c] if lower and paired else np.float32(0)
            pairs = (y00, y01), (y00 + y10, y01 + y11), (y00 - y10, y01 - y11), (-y10, -y11)
            for i in range(4):
                first_column, second_column = pairs[i]
                summed[4 * i, q, c] = first_column
                summed[4 * i + 1, q, c] = first_column + second_column
                summed[4 * i + 2, q, c] = first_column - second_column
                summed[4 * i + 3, q, c] = -second_column


@numba.njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _input_gradient(places: np.ndarray, rows: np.ndarray, target: np.ndarray) -> None:
    """Add ``B dv B^T`` of a row of tiles to four rows of the padded map."""
    rows[:] = 0
    for i in range(4):
        for q in range(places.shape[1]):
            for c in range(places.shape[2]):
                v0, v1, v2, v3 = (
                    places[4 * i, q, c],
                    places[4 * i + 1, q, c],
                    places[4 * i + 2, q, c],
                    places[4 * i + 3, q, c],
                )
                rows[i, 2 * q, c] += v0
                rows[i, 2 * q + 1, c] += v1 - v2 + v3
                rows[i, 2 * q + 2, c] += v1 + v2 - v0
                rows[i, 2 * q + 3, c] -= v3
    for x in range(rows.shape[1]):
        for c in range(rows.shape[2]):
            r0, r1, r2, r3 = rows[0, x, c], rows[1, x, c], rows[2, x, c], rows[3, x, c]
            target[0, x, c] += r0
            target[1, x, c] += r1 - r2 + r3
            target[2, x, c] += r1 + r2 - r0
            target[3, x, c] -= r3

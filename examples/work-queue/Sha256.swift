// SHA-256 (FIPS 180-4), since Foundation has none on Linux. On Apple systems use CryptoKit.

import Foundation

private let constants: [UInt32] = {
    // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    var primes: [Int] = []
    var candidate = 2
    while primes.count < 64 {
        if primes.allSatisfy({ candidate % $0 != 0 }) { primes.append(candidate) }
        candidate += 1
    }
    return primes.map { fraction(cbrt(Double($0))) }
}()

private func fraction(_ value: Double) -> UInt32 {
    UInt32((value - value.rounded(.down)) * 4_294_967_296)
}

func sha256(_ data: Data) -> String {
    var hash: [UInt32] = [2, 3, 5, 7, 11, 13, 17, 19].map { fraction(Double($0).squareRoot()) }
    var bytes = [UInt8](data)
    let bits = UInt64(bytes.count) * 8
    bytes.append(0x80)
    while bytes.count % 64 != 56 { bytes.append(0) }
    withUnsafeBytes(of: bits.bigEndian) { bytes.append(contentsOf: $0) }
    var words = [UInt32](repeating: 0, count: 64)
    for block in stride(from: 0, to: bytes.count, by: 64) {
        for at in 0..<16 {
            let from = block + at * 4
            words[at] =
                UInt32(bytes[from]) << 24 | UInt32(bytes[from + 1]) << 16 | UInt32(bytes[from + 2]) << 8
                | UInt32(bytes[from + 3])
        }
        for at in 16..<64 {
            let (x, y) = (words[at - 15], words[at - 2])
            let s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >> 3)
            let s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >> 10)
            words[at] = words[at - 16] &+ s0 &+ words[at - 7] &+ s1
        }
        var v = hash
        for at in 0..<64 {
            let s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)
            let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
            let first = v[7] &+ s1 &+ choice &+ constants[at] &+ words[at]
            let s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)
            let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
            let second = s0 &+ majority
            v = [first &+ second, v[0], v[1], v[2], v[3] &+ first, v[4], v[5], v[6]]
        }
        for at in 0..<8 { hash[at] = hash[at] &+ v[at] }
    }
    return hash.map { String(format: "%08x", $0) }.joined()
}

private func rotate(_ value: UInt32, _ by: UInt32) -> UInt32 {
    value >> by | value << (32 - by)
}

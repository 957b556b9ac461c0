import Foundation

/// What can be published: `Data`, `[UInt8]`, `String` (as UTF-8).
public protocol NatsPayload: Sendable {
    /// Gives the bytes for the time of the call.
    func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R
}

extension Data: NatsPayload {
    /// Its bytes.
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try withUnsafeBytes(body) }
}

extension [UInt8]: NatsPayload {
    /// Its bytes.
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try withUnsafeBytes(body) }
}

extension String: NatsPayload {
    /// Its UTF-8.
    public func withPayload<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        var text = self
        return try text.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
    }
}

/// Bytes as the C functions take them.
typealias Bytes = UnsafePointer<UInt8>

extension UnsafeRawBufferPointer {
    var pointer: Bytes? { baseAddress?.assumingMemoryBound(to: UInt8.self) }
}

/// A text that may be absent as a pointer for one call.
@inline(__always)
func optional<R>(_ text: String?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
    guard let text else { return body(nil) }
    return text.withPayload { body($0) }
}

/// Subject, headers and payload as pointers for one call.
@inline(__always)
func withCall<R>(
    _ subject: String, _ headers: NatsHeaders?, _ payload: some NatsPayload,
    _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> R
) rethrows -> R {
    try subject.withPayload { subject in
        try payload.withPayload { payload in
            guard let headers, !headers.isEmpty else {
                return try body(subject, UnsafeRawBufferPointer(start: nil, count: 0), payload)
            }
            return try headers.packed.withUnsafeBytes { try body(subject, $0, payload) }
        }
    }
}

import Foundation

/// The headers of a message: ordered, several values a name, names as they are written (ADR-4).
public struct NatsHeaders: Sendable, Hashable, Sequence, ExpressibleByDictionaryLiteral {
    /// A name and a value.
    public struct Pair: Sendable, Hashable {
        /// The name.
        public let name: String
        /// The value.
        public let value: String
    }

    private var pairs: [Pair]

    /// No headers.
    public init() { pairs = [] }

    /// Headers in this order.
    public init(_ pairs: [(String, String)]) { self.pairs = pairs.map { Pair(name: $0.0, value: $0.1) } }

    /// `["trace": "1"]`.
    public init(dictionaryLiteral elements: (String, String)...) { self.init(elements) }

    /// The first value of `name`.
    public func get(_ name: String) -> String? { pairs.first { $0.name == name }?.value }

    /// All values of `name`, in order.
    public func values(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

    /// One value, in place of all that were there.
    public mutating func set(_ name: String, _ value: String) {
        delete(name)
        append(name, value)
    }

    /// One value more.
    public mutating func append(_ name: String, _ value: String) { pairs.append(Pair(name: name, value: value)) }

    /// Removes `name`.
    public mutating func delete(_ name: String) { pairs.removeAll { $0.name == name } }

    /// How many pairs there are.
    public var count: Int { pairs.count }
    /// Whether there are none.
    public var isEmpty: Bool { pairs.isEmpty }

    /// The pairs, in order.
    public func makeIterator() -> IndexingIterator<[Pair]> { pairs.makeIterator() }

    init(packed: UnsafeRawBufferPointer) {
        pairs = []
        var at = 0
        func field() -> String? {
            guard at + 4 <= packed.count else { return nil }
            let count = Int(UInt32(littleEndian: packed.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
            guard at + 4 + count <= packed.count else { return nil }
            defer { at += 4 + count }
            return String(decoding: packed[at + 4..<at + 4 + count], as: UTF8.self)
        }
        while let name = field(), let value = field() { append(name, value) }
    }

    /// As they cross into the library, which checks them.
    var packed: [UInt8] {
        var out: [UInt8] = []
        for pair in pairs { out.packField(pair.name, pair.value) }
        return out
    }
}

extension [UInt8] {
    /// One packed field: name and value, each behind its length.
    mutating func packField(_ name: String, _ value: String) {
        for text in [name, value] {
            let bytes = Array(text.utf8)
            Swift.withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { append(contentsOf: $0) }
            append(contentsOf: bytes)
        }
    }
}

import CNatsune
import Foundation

/// Memory that the library gave, freed with the last reference. It is never written to.
final class NativeBuffer: @unchecked Sendable {
    private let buffer: natsune_buffer

    init(_ buffer: natsune_buffer) { self.buffer = buffer }

    deinit { natsune_buffer_free(buffer) }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: buffer.ptr, count: buffer.len) }

    func slice(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
    }

    func u32(_ at: Int) -> Int {
        Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
    }

    func u64(_ at: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
    }

    func text(_ start: Int, _ count: Int) -> String {
        String(decoding: slice(start, count), as: UTF8.self)
    }
}

/// A packed batch: its entries are read when they are asked for.
struct Batch: Sendable {
    static let ended = 2
    private static let none = 0xffff_ffff

    let buffer: NativeBuffer

    var count: Int { buffer.u32(0) }
    var state: Int { buffer.u32(4) }

    func entry(_ index: Int) -> Entry {
        let base = 16 + index * buffer.u32(8)
        return Entry(buffer: buffer, base: base)
    }

    /// One message of a batch.
    struct Entry: Sendable {
        let buffer: NativeBuffer
        let base: Int

        private var offset: Int { buffer.u32(base) }
        private var subjectCount: Int { buffer.u32(base + 4) }
        private var replyCount: Int {
            let count = buffer.u32(base + 8)
            return count == Batch.none ? 0 : count
        }
        private var headersCount: Int { buffer.u32(base + 12) }
        private var headersStart: Int { offset + subjectCount + replyCount }
        private var payloadStart: Int { headersStart + headersCount }
        private var payloadCount: Int { buffer.u32(base + 16) }
        private var namesStart: Int { payloadStart + payloadCount }

        var subject: String { buffer.text(offset, subjectCount) }
        var hasReply: Bool { buffer.u32(base + 8) != Batch.none }
        var reply: String? { hasReply ? buffer.text(offset + subjectCount, replyCount) : nil }
        var replyBytes: UnsafeRawBufferPointer { buffer.slice(offset + subjectCount, replyCount) }
        var payload: UnsafeRawBufferPointer { buffer.slice(payloadStart, payloadCount) }
        var headers: NatsHeaders { NatsHeaders(packed: buffer.slice(headersStart, headersCount)) }
        var status: Int? {
            let status = buffer.u32(base + 20)
            return status == 0 ? nil : status
        }
        var isJetStream: Bool { buffer.u32(base + 24) == 1 }

        var metadata: NatsMessageMetadata {
            let sizes = (0..<3).map { buffer.u32(base + 72 + $0 * 4) }
            let domain = buffer.text(namesStart + sizes[0] + sizes[1], sizes[2])
            return NatsMessageMetadata(
                stream: buffer.text(namesStart, sizes[0]),
                consumer: buffer.text(namesStart + sizes[0], sizes[1]),
                domain: domain.isEmpty ? nil : domain,
                streamSequence: buffer.u64(base + 32),
                consumerSequence: buffer.u64(base + 40),
                numDelivered: buffer.u64(base + 48),
                numPending: buffer.u64(base + 56),
                timestampNanos: Int64(bitPattern: buffer.u64(base + 64)))
        }
    }
}

import CNatsune
import Foundation

/// What went wrong: act on `code`, show `message`.
///
/// `applied` and `retryable` answer "may I try again?".
public struct NatsError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What a caller acts on. The set can grow: compare with the static members, keep a default.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// The word that is the same in every language.
        public let rawValue: String
        /// A code by its word.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The caller's own mistake; nothing was sent.
        public static let invalidArgument = Code(rawValue: "invalid_argument")
        /// The server does not accept these credentials.
        public static let auth = Code(rawValue: "auth")
        /// These credentials do not allow that.
        public static let permission = Code(rawValue: "permission")
        /// No connection, or it broke.
        public static let connection = Code(rawValue: "connection")
        /// The object is closed.
        public static let closed = Code(rawValue: "closed")
        /// No answer in time.
        public static let timeout = Code(rawValue: "timeout")
        /// Nobody listens on that subject.
        public static let noResponders = Code(rawValue: "no_responders")
        /// No such stream, consumer or namespace.
        public static let notFound = Code(rawValue: "not_found")
        /// It exists, with another configuration.
        public static let alreadyExists = Code(rawValue: "already_exists")
        /// An expectation was not met.
        public static let conflict = Code(rawValue: "conflict")
        /// A limit of the server, stream or payload.
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        /// Our own buffer is full; `waitWritable` says when to go on.
        public static let busy = Code(rawValue: "busy")
        /// JetStream is not ready.
        public static let unavailable = Code(rawValue: "unavailable")
        /// The server is too old or does not do that.
        public static let unsupported = Code(rawValue: "unsupported")
        /// A digest does not fit.
        public static let integrity = Code(rawValue: "integrity")
        /// The server said something else; the text says what.
        public static let server = Code(rawValue: "server")
        /// A fault in this library.
        public static let `internal` = Code(rawValue: "internal")
    }

    /// Whether the call had an effect on the server.
    public enum Applied: String, Sendable {
        /// It had none.
        case no
        /// Nobody can tell.
        case maybe
        /// It had.
        case yes
    }

    /// What to act on.
    public let code: Code
    /// What was wrong and what to do; for people, never part of the API.
    public let message: String
    /// Whether the same call may succeed later.
    public let retryable: Bool
    /// Whether the call had an effect.
    public let applied: Applied
    /// Facts beside the code, a JSON object: `err_code`, `status`, `subject`, `field`.
    public let detailJSON: String

    /// JetStream's own error number, if there is one.
    public var errCode: Int? { number("err_code") }
    /// The status of the answer, if there is one.
    public var status: Int? { number("status") }

    /// For people.
    public var description: String { "\(code.rawValue): \(message)" }
    /// For people.
    public var errorDescription: String? { description }

    private func number(_ name: String) -> Int? {
        let fields = try? JSONSerialization.jsonObject(with: Data(detailJSON.utf8)) as? [String: Any]
        return fields?[name] as? Int
    }
}

extension NatsError {
    /// The failure that the last negative result of this thread stands for.
    static func last() -> NatsError {
        var buffer = natsune_buffer()
        guard natsune_last_failure(&buffer) == 1 else {
            let text = "a call failed and left no failure"
            return NatsError(code: .internal, message: text, retryable: false, applied: .maybe, detailJSON: "{}")
        }
        let packed = NativeBuffer(buffer)
        let sizes = (2..<5).map { packed.u32($0 * 4) }
        let applied: [Applied] = [.no, .maybe, .yes]
        return NatsError(
            code: Code(rawValue: packed.text(20, sizes[0])),
            message: packed.text(20 + sizes[0], sizes[1]),
            retryable: packed.u32(0) == 1,
            applied: applied[min(packed.u32(4), 2)],
            detailJSON: packed.text(20 + sizes[0] + sizes[1], sizes[2]))
    }

    /// A mistake of the caller that is found on this side. `field` is a name in code.
    static func invalid(_ message: String, field: String? = nil) -> NatsError {
        let detail = field.map { "{\"field\":\"\($0)\"}" } ?? "{}"
        return NatsError(code: .invalidArgument, message: message, retryable: false, applied: .no, detailJSON: detail)
    }

    init(_ failure: NativeFailure) {
        switch failure {
        case .Failed(let code, let text, let detail, let retryable, let applied):
            self.init(
                code: Code(rawValue: code), message: text, retryable: retryable,
                applied: Applied(rawValue: applied) ?? .maybe, detailJSON: detail)
        }
    }
}

/// A hot call's result, or its failure thrown.
@inline(__always)
func checked<T: SignedInteger>(_ result: T) throws -> T {
    if result < 0 { throw NatsError.last() }
    return result
}

/// A generated call, with its failure as ours.
func control<T>(_ call: () throws -> T) throws -> T {
    do {
        return try call()
    } catch let failure as NativeFailure {
        throw NatsError(failure)
    }
}

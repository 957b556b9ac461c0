package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.Native
import io.natsune.internal.StatusWatch
import io.natsune.internal.checked
import io.natsune.internal.eventFlow
import io.natsune.internal.generated.clientMaxPayload
import io.natsune.internal.generated.clientNewInbox
import io.natsune.internal.generated.clientServerInfo
import io.natsune.internal.generated.clientStats
import io.natsune.internal.generated.finishClosed
import io.natsune.internal.generated.finishCounts
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.finishRtt
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.openJetstream
import io.natsune.internal.generated.startClosed
import io.natsune.internal.generated.startConnect
import io.natsune.internal.generated.startDrain
import io.natsune.internal.generated.startFlush
import io.natsune.internal.generated.startReconnect
import io.natsune.internal.generated.startRtt
import io.natsune.internal.generated.startSubscribe
import io.natsune.internal.milliseconds
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import java.lang.ref.Reference
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/**
 * Connects to one of [servers] (`nats://localhost:4222` when none is given). Completes when the server answered, so wrong
 * credentials fail here.
 */
public suspend fun connect(
    vararg servers: String,
    options: ConnectOptions.() -> Unit = {},
): Client = connect(ConnectOptions(servers = servers.toList()).apply(options))

/** Connects with these options. */
public suspend fun connect(options: ConnectOptions): Client =
    Client(Handle(Completions.run({ startConnect(it, options) }, ::finishHandle), "a client"))

/** Connects, runs [body] and leaves: what was accepted is sent, for at most 2 s. */
public suspend fun <R> withNats(
    url: String,
    options: ConnectOptions.() -> Unit = {},
    body: suspend (Client) -> R,
): R {
    val client = connect(url, options = options)
    try {
        return body(client)
    } finally {
        withContext(NonCancellable) {
            withTimeoutOrNull(2.seconds) {
                try {
                    client.flush()
                } catch (_: NatsException) {
                    // Closed already, or no connection: what is to be said was said to the body.
                }
            }
            client.close()
        }
    }
}

/** How a connection is. */
public enum class Status {
    /** Messages go out and come in. */
    Connected,

    /** The connection broke, and a new one is being made. */
    Reconnecting,

    /** It hands out and sends what there is, then closes. */
    Draining,

    /** Closed for good. */
    Closed,
}

/** A connection to a NATS server that mends itself. */
public class Client internal constructor(
    internal val handle: Handle,
) : AutoCloseable {
    @Volatile
    private var leaving = false

    private val watch = lazy { StatusWatch(handle) }

    /** How the connection is. */
    public val status: StateFlow<Status> get() = watch.value.status

    /** What happens to the connection; each collection starts with what happens after it began. */
    public val events: Flow<Event> = eventFlow(handle)

    /**
     * Copies the message into the outbound buffer; waits while that is over its mark, at most `publishTimeout` (5 s).
     * Cancelled while it waits, the message is not sent.
     */
    public suspend fun publish(
        subject: String,
        payload: ByteArray = ByteArray(0),
        reply: String? = null,
        headers: Headers? = null,
    ) {
        handle.publishWaiting(subject, reply, headers, payload)
    }

    /** The same with a text. */
    public suspend fun publish(
        subject: String,
        payload: String,
        reply: String? = null,
        headers: Headers? = null,
    ): Unit = publish(subject, payload.encodeToByteArray(), reply, headers)

    /** Accepts the message at once, or throws. True: the buffer is under pressure, [waitWritable] before going on. */
    public fun tryPublish(
        subject: String,
        payload: ByteArray = ByteArray(0),
        reply: String? = null,
        headers: Headers? = null,
    ): Boolean = handle.publish(subject, reply, headers, payload)

    /** The same with a text. */
    public fun tryPublish(
        subject: String,
        payload: String,
        reply: String? = null,
        headers: Headers? = null,
    ): Boolean = tryPublish(subject, payload.encodeToByteArray(), reply, headers)

    /** Waits until the outbound buffer is below its mark. */
    public suspend fun waitWritable(): Unit = handle.waitWritable()

    /**
     * Subscribes. Completes when the server confirmed it, so a missing right is thrown here. The inbox keeps 524,288
     * messages and 64 MiB unless told otherwise; what does not fit is dropped ([whenFull]) and counted.
     */
    public suspend fun subscribe(
        subject: String,
        queue: String? = null,
        pendingMessages: Long? = null,
        pendingBytes: Long? = null,
        whenFull: WhenFull? = null,
        maxMessages: Long? = null,
        confirm: Boolean? = null,
    ): Subscription {
        val options =
            SubscribeOptions(
                subject = subject,
                queue = queue,
                pendingMessages = pendingMessages,
                pendingBytes = pendingBytes,
                whenFull = whenFull?.word,
                maxMessages = maxMessages,
                confirm = confirm,
            )
        val number = handle.run({ completions, client -> startSubscribe(completions, client, options) }, ::finishHandle)
        return Subscription(Handle(number, "a subscription to $subject"), handle, subject)
    }

    /** Sends a request and waits for its reply; `NoResponders` at once when nobody listens. */
    public suspend fun request(
        subject: String,
        payload: ByteArray = ByteArray(0),
        headers: Headers? = null,
        timeout: Duration? = null,
    ): Message {
        val id =
            Native.startRequest(
                Completions.queue,
                handle.number,
                subject,
                headers?.packed(),
                payload,
                timeout.milliseconds(),
            )
        val batch = Completions.messages(checked(id))
        Reference.reachabilityFence(handle)
        return Message(batch.entry(0), handle)
    }

    /** The same with a text. */
    public suspend fun request(
        subject: String,
        payload: String,
        headers: Headers? = null,
        timeout: Duration? = null,
    ): Message = request(subject, payload.encodeToByteArray(), headers, timeout)

    /** One round trip to the server; what was published before it has been processed. Gives what became of it. */
    public suspend fun flush(): PublishCounts = handle.run(::startFlush, ::finishCounts)

    /** The time of one round trip. */
    public suspend fun rtt(): Duration = handle.run(::startRtt, ::finishRtt)

    /** Hands out what was received, flushes what was published, then closes. */
    public suspend fun drain() {
        if (watch.isInitialized()) watch.value.draining()
        handle.run(::startDrain, ::finishUnit)
    }

    /**
     * Closes without waiting; what was accepted is sent in the background, for at most 2 s ([withNats] waits for that).
     * Again is nothing; everything else afterwards is `Closed`.
     */
    override fun close() {
        leaving = true
        handle.close()
    }

    /** Waits until the client is closed for good, and says why (null: it was asked to). */
    public suspend fun closed(): String? =
        try {
            handle.run(::startClosed, ::finishClosed)
        } catch (failure: NatsException) {
            if (leaving && failure.code == ErrorCode.Closed) null else throw failure
        }

    /** Leaves the connection and makes a new one. */
    public suspend fun reconnect(): Unit = handle.run(::startReconnect, ::finishUnit)

    /** Counters, in one snapshot. */
    public fun stats(): Stats = handle.ask(::clientStats)

    /** What the server last said of itself. */
    public val serverInfo: ServerInfo get() = handle.ask(::clientServerInfo)

    /** The largest payload, headers included, that the server takes; bytes. */
    public val maxPayload: Long get() = handle.ask(::clientMaxPayload)

    /** A fresh reply subject. */
    public fun newInbox(): String = handle.ask(::clientNewInbox)

    /** The JetStream of this connection. */
    public fun jetstream(
        domain: String? = null,
        prefix: String? = null,
    ): JetStream {
        if (domain == null && prefix == null) return JetStream(handle, handle)
        return JetStream(handle, Handle(handle.ask { openJetstream(it, domain, prefix) }))
    }
}

package io.natsune

import io.natsune.internal.Batch
import io.natsune.internal.Completions
import io.natsune.internal.Entry
import io.natsune.internal.Handle
import io.natsune.internal.Native
import io.natsune.internal.checked
import io.natsune.internal.invalid
import io.natsune.internal.milliseconds
import io.natsune.internal.seconds
import java.lang.ref.Reference
import java.nio.ByteBuffer
import java.time.Instant
import kotlin.time.Duration

/** A message. Its fields are read from the batch that it came in when they are asked for. */
public open class Message internal constructor(
    internal val entry: Entry,
    internal val client: Handle,
) {
    private var subjectRead: String? = null

    /** Its subject. */
    public val subject: String get() = subjectRead ?: entry.subject.also { subjectRead = it }

    /** Its payload, copied. */
    public val data: ByteArray get() = entry.payload

    /** Its payload as text; what is not UTF-8 is replaced. */
    public val text: String get() = entry.text

    /** Its payload without a copy, read-only; it keeps the whole batch in memory. */
    public val view: ByteBuffer get() = entry.view

    /** Its headers, never null. */
    public val headers: Headers get() = entry.headers

    /** Where a reply goes, if anywhere. */
    public val reply: String? get() = entry.reply

    /** The status code of a message that the server made. */
    public val status: Int? get() = entry.status

    /** Publishes to the reply subject; waits under pressure, as [Client.publish] does. */
    public suspend fun respond(
        payload: ByteArray = ByteArray(0),
        headers: Headers? = null,
    ) {
        client.publishWaiting(replySubject(), null, headers, payload)
    }

    /** Publishes to the reply subject; waits under pressure. */
    public suspend fun respond(
        payload: String,
        headers: Headers? = null,
    ): Unit = respond(payload.encodeToByteArray(), headers)

    /** Publishes to the reply subject without waiting; true: the buffer is under pressure. */
    public fun tryRespond(
        payload: ByteArray = ByteArray(0),
        headers: Headers? = null,
    ): Boolean = client.publish(replySubject(), null, headers, payload)

    private fun replySubject(): String = reply ?: throw invalid("the message has no reply subject: nobody waits for an answer")

    override fun toString(): String = "Message($subject, ${entry.payloadCount} bytes)"
}

/**
 * Where a JetStream message stands.
 *
 * @property stream Its stream.
 * @property consumer The consumer that delivered it.
 * @property domain The JetStream domain, if any.
 * @property streamSequence Its sequence in the stream.
 * @property consumerSequence The sequence of this delivery.
 * @property numDelivered How often it was delivered, this time included.
 * @property numPending How many messages the consumer has yet to deliver.
 * @property timestampNanos When the stream stored it, nanoseconds since 1970.
 */
public data class MessageMetadata(
    val stream: String,
    val consumer: String,
    val domain: String?,
    val streamSequence: Long,
    val consumerSequence: Long,
    val numDelivered: Long,
    val numPending: Long,
    val timestampNanos: Long,
) {
    /** When the stream stored it. */
    val timestamp: Instant get() = Instant.ofEpochSecond(0, timestampNanos)
}

/** A message that a consumer delivered: it wants to be settled. */
public class JetStreamMessage internal constructor(
    entry: Entry,
    client: Handle,
) : Message(entry, client) {
    /** The library's own record of what became of it; 0: nothing yet. */
    private var state = 0

    /** Where it stands. */
    public val metadata: MessageMetadata get() = entry.metadata

    /** Handled; goes out with the next write. Again is nothing; after another verb it is `InvalidArgument`. */
    public fun ack(): Unit = settle(ACK, null)

    /** Give it again, at once or after [delay]. */
    public fun nak(delay: Duration? = null): Unit = settle(NAK, delay?.seconds())

    /** Never give it again. */
    public fun term(reason: String? = null): Unit = settle(TERM, reason)

    /** Still at it: the consumer's ack wait starts anew. */
    public fun inProgress(): Unit = settle(IN_PROGRESS, null)

    /** Handled, and waits for the server's confirmation. After a time-out it can be repeated. */
    public suspend fun ackSync(timeout: Duration? = null) {
        val before = synchronized(this) { state }
        val id =
            Native.startAckSync(Completions.queue, client.number, entry.replyBytes, before, timeout.milliseconds())
        val after = Completions.number(checked(id)).toInt()
        synchronized(this) { state = after }
        Reference.reachabilityFence(client)
    }

    private fun settle(
        verb: Int,
        argument: String?,
    ) {
        synchronized(this) {
            state = checked(Native.settle(client.number, entry.replyBytes, state, verb, argument))
        }
        Reference.reachabilityFence(client)
    }

    private companion object {
        const val ACK = 1
        const val NAK = 2
        const val TERM = 3
        const val IN_PROGRESS = 4
    }
}

/** A message as a stream keeps it. */
public class StoredMessage internal constructor(
    private val entry: Entry,
) {
    /** Its stream. */
    public val stream: String get() = entry.metadata.stream

    /** Its subject. */
    public val subject: String get() = entry.subject

    /** Its sequence in the stream. */
    public val sequence: Long get() = entry.metadata.streamSequence

    /** When it was stored, nanoseconds since 1970. */
    public val timestampNanos: Long get() = entry.metadata.timestampNanos

    /** When it was stored. */
    public val timestamp: Instant get() = entry.metadata.timestamp

    /** Its payload, copied. */
    public val data: ByteArray get() = entry.payload

    /** Its payload as text; what is not UTF-8 is replaced. */
    public val text: String get() = entry.text

    /** Its headers, never null. */
    public val headers: Headers get() = entry.headers

    override fun toString(): String = "StoredMessage($subject, $sequence, ${entry.payloadCount} bytes)"
}

internal fun Batch.deliveries(client: Handle): List<JetStreamMessage> = List(count) { JetStreamMessage(entry(it), client) }

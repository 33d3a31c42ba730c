package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/metadata/controller"
	"spate/metadata/record"
)

// AlterClientQuotas: the controller decides, entity by entity; the answer waits on a worker until its decision is
// durable and in force on this broker.

func alterClientQuotas(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.AlterClientQuotasRequest)
	response := request.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	cmd := controller.AlterClientQuotas{ValidateOnly: request.ValidateOnly}
	for i := range request.Entries {
		cmd.Entries = append(cmd.Entries, alteredQuotas(&request.Entries[i]))
	}
	reply, err := c.decide(ctx, alterTimeoutMs, cmd)
	if errors.Is(err, errClosing) {
		return nil, err
	}
	if err != nil {
		for i := range cmd.Entries {
			response.Entries = append(response.Entries, c.alteredEntity(cmd.Entries[i].Entity, err))
		}
		return response, nil
	}
	for _, altered := range reply.(controller.AlterClientQuotasReply).Entries {
		response.Entries = append(response.Entries, c.alteredEntity(altered.Entity, altered.Err))
	}
	return response, nil
}

func alteredQuotas(asked *kmsg.AlterClientQuotasRequestEntry) controller.AlteredQuotas {
	var altered controller.AlteredQuotas
	for _, part := range asked.Entity {
		altered.Entity = append(altered.Entity, record.QuotaEntity{Type: part.Type, Name: part.Name})
	}
	for i := range asked.Ops {
		op := &asked.Ops[i]
		change := controller.QuotaChange{Key: op.Key}
		if !op.Remove {
			change.Value = &op.Value
		}
		altered.Changes = append(altered.Changes, change)
	}
	return altered
}

// alteredEntity is the answer for one entity.
func (c *Context) alteredEntity(parts []record.QuotaEntity, err error) kmsg.AlterClientQuotasResponseEntry {
	told := kmsg.NewAlterClientQuotasResponseEntry()
	for _, part := range parts {
		told.Entity = append(told.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: part.Type, Name: part.Name})
	}
	told.ErrorCode, told.ErrorMessage = c.refusal(err)
	return told
}
